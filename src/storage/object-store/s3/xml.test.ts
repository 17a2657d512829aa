import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deleteRequestBody, parseDeleteResult, parseErrorBody, parseListPage } from "./xml.ts";

const list = (inner: string): string =>
  `<?xml version="1.0"?><ListBucketResult xmlns="x">${inner}</ListBucketResult>\n`;

describe("the XML of S3", () => {
  it("reads a page of a list", () => {
    const page = parseListPage(
      list(
        `<Name>b</Name><Prefix>a%2F</Prefix><EncodingType>url</EncodingType>
        <IsTruncated>true</IsTruncated>
        <Contents><Key>a%2Fone%2Btwo</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>
          <ETag>&quot;x&quot;</ETag><Size>12</Size><Owner><ID>o</ID></Owner></Contents>
        <Contents><Key>a%2Fthree</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>
          <Size>0</Size></Contents>
        <NextContinuationToken>t&amp;k=&#x3D;&#61;</NextContinuationToken>`,
      ),
    );
    assert.deepEqual(page, {
      objects: [
        { key: "a/one+two", sizeBytes: 12, modifiedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678) },
        { key: "a/three", sizeBytes: 0, modifiedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5) },
      ],
      continuation: "t&k===",
    });
    const plain = list("<Contents><Key>a&amp;b</Key><Size>1</Size></Contents>");
    assert.equal(parseListPage(plain)?.objects[0]?.key, "a&b");
    assert.deepEqual(parseListPage(list("<IsTruncated>false</IsTruncated>")), {
      objects: [],
      continuation: null,
    });
  });

  it("takes for no list what is cut off, or something else", () => {
    const whole = list("<Contents><Key>a</Key></Contents>");
    assert.equal(parseListPage(whole.slice(0, -12)), null);
    assert.equal(parseListPage("<html>welcome</html>"), null);
    assert.equal(parseListPage(""), null);
    assert.equal(
      parseListPage(list("<IsTruncated>true</IsTruncated>")),
      null,
      "where does it go on?",
    );
  });

  it("reads errors and deletions", () => {
    const body = "<Error><Code>SlowDown</Code><Message>less &lt;please&gt;</Message></Error>";
    assert.deepEqual(parseErrorBody(body), {
      code: "SlowDown",
      message: "less <please>",
      region: null,
    });
    assert.deepEqual(parseErrorBody("<html>502</html>"), { code: "", message: "", region: null });
    const partial =
      "<DeleteResult><Error><Key>a</Key><Code>InternalError</Code></Error></DeleteResult>";
    assert.deepEqual(parseDeleteResult(partial), [{ key: "a", code: "InternalError" }]);
    assert.deepEqual(parseDeleteResult('<DeleteResult xmlns="x"></DeleteResult>'), []);
    assert.deepEqual(parseDeleteResult("<DeleteResult/>"), []);
    assert.equal(parseDeleteResult("<html/>"), null);
  });

  it("escapes keys", () => {
    assert.match(deleteRequestBody([`a<&"'>`]), /<Key>a&#60;&#38;&#34;&#39;&#62;<\/Key>/);
  });
});
