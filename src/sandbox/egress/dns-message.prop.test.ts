import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import {
  buildAnswer,
  buildError,
  buildQuestion,
  followAliases,
  parseAnswer,
  parseQuestion,
  recordType,
  responseCode,
  type AddressRecord,
} from "./dns-message.ts";

const label = fc.stringMatching(/^[a-z0-9_-]{1,20}$/);
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join("."));
const ttl = fc.nat(2 ** 31 - 1);
const address = fc
  .tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))
  .map((all) => all.join("."));
const record: fc.Arbitrary<AddressRecord> = fc.oneof(
  fc.record({ name, ttl, address }, { noNullPrototype: true }),
  fc.record({ name, ttl, target: name }, { noNullPrototype: true }),
);

test("what is built is read as what it was", () => {
  fc.assert(
    fc.property(fc.nat(65_535), name, fc.array(record, { maxLength: 10 }), (id, asked, records) => {
      const question = parseQuestion(buildQuestion({ id, name: asked, type: recordType.a }));
      assert.ok(question !== null);
      assert.deepEqual([question.id, question.name, question.type], [id, asked, recordType.a]);
      const bytes = buildAnswer(question, { code: 0, records, bytesMax: 65_535 });
      const answer = parseAnswer(bytes, { name: asked, type: recordType.a });
      assert.deepEqual(answer, { id, code: 0, truncated: false, records });
    }),
  );
});

test("an answer that does not fit is cut between records, and says so", () => {
  const question = parseQuestion(
    buildQuestion({ id: 7, name: "many.example", type: recordType.a }),
  );
  assert.ok(question !== null);
  const records = Array.from({ length: 200 }, (_, index) => {
    return { name: "many.example", ttl: 60, address: `192.0.2.${index}` };
  });
  const bytes = buildAnswer(question, { code: 0, records });
  assert.ok(bytes.length <= question.answerBytesMax);
  const answer = parseAnswer(bytes, { name: "many.example", type: recordType.a });
  assert.ok(answer?.truncated === true && answer.records.length > 60);
});

test("any bytes are read or refused, never worse", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      const message = Buffer.from(bytes);
      parseQuestion(message);
      parseAnswer(message, { name: "a", type: 1 });
      buildError(message, responseCode.formatError);
    }),
    { numRuns: 2000 },
  );
});

test("a flipped byte in a good answer is read or refused, never worse", () => {
  const question = parseQuestion(buildQuestion({ id: 1, name: "www.example.com", type: 1 }));
  assert.ok(question !== null);
  const records = [
    { name: "www.example.com", ttl: 5, target: "edge.example.net" },
    { name: "edge.example.net", ttl: 5, address: "192.0.2.1" },
  ];
  const good = buildAnswer(question, { code: 0, records });
  for (let at = 0; at < good.length; at += 1) {
    for (const value of [0, 1, 0x3f, 0x40, 0xc0, 0xff]) {
      const bad = Buffer.from(good);
      bad[at] = value;
      parseAnswer(bad, { name: "www.example.com", type: 1 });
      parseQuestion(bad);
    }
  }
});

test("a name that points at itself or forwards is no name", () => {
  const loop = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]);
  assert.equal(parseQuestion(loop), null);
  const forwards = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 14, 0, 1, 0, 1, 0]);
  assert.equal(parseQuestion(forwards), null);
});

test("a label with a dot in it, or other bytes than host names have, is no plain name", () => {
  for (const text of ["a.b", "a\0b", "a b", "é"]) {
    const bytes = Buffer.from(text, "latin1");
    const message = Buffer.concat([
      Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, bytes.length]),
      bytes,
      Buffer.from([0, 0, 1, 0, 1]),
    ]);
    assert.equal(parseQuestion(message)?.name, null, text);
  }
});

test("aliases are followed from the asked name only, and end in a loop", () => {
  const records = [
    { name: "edge.net", ttl: 30, address: "192.0.2.1" },
    { name: "www.com", ttl: 300, target: "edge.net" },
    { name: "other.org", ttl: 1, address: "192.0.2.9" },
  ];
  assert.deepEqual(followAliases("www.com", records), {
    names: ["www.com", "edge.net"],
    addresses: [{ address: "192.0.2.1", ttl: 30 }],
  });
  const loop = [
    { name: "a", ttl: 1, target: "b" },
    { name: "b", ttl: 1, target: "a" },
  ];
  assert.deepEqual(followAliases("a", loop).addresses, []);
});
