/**
 * The little XML that S3 answers with. It is flat, keys arrive percent-encoded (`encoding-type=url`), and what is looked for
 * is plain text between two known tags; so it is cut out rather than parsed.
 * Sources: AWS S3 API Reference, ListObjectsV2, DeleteObjects, Error Responses.
 */
export interface ListPage {
  objects: Array<{ key: string; sizeBytes: number; modifiedAtMs: number }>;
  /** Null on the last page. */
  continuation: string | null;
}

/** Null when the text is no list: a proxy's page, or a body that was cut off. */
export function parseListPage(text: string): ListPage | null {
  if (!text.includes("<ListBucketResult") || !text.trimEnd().endsWith("</ListBucketResult>"))
    return null;
  const isEncoded = valueOf(text, "EncodingType") === "url";
  const objects = elementsOf(text, "Contents").map((element) => {
    const key = valueOf(element, "Key") ?? "";
    return {
      key: isEncoded ? decodeURIComponent(key.replaceAll("+", "%20")) : key,
      sizeBytes: Number(valueOf(element, "Size")),
      modifiedAtMs: Date.parse(valueOf(element, "LastModified") ?? ""),
    };
  });
  const isTruncated = valueOf(text, "IsTruncated") === "true";
  const continuation = isTruncated ? valueOf(text, "NextContinuationToken") : null;
  if (isTruncated && continuation === null) return null;
  return { objects, continuation };
}

export interface S3ErrorBody {
  code: string;
  message: string;
  region: string | null;
}

/** Empty strings when there is no such body: replies to HEAD have none, and proxies answer in HTML. */
export function parseErrorBody(text: string): S3ErrorBody {
  const [body = ""] = elementsOf(text, "Error");
  return {
    code: valueOf(body, "Code") ?? "",
    message: (valueOf(body, "Message") ?? "").slice(0, 300),
    region: valueOf(body, "Region"),
  };
}

/** The keys that a batch delete did not delete; null when the text is no such answer. */
export function parseDeleteResult(text: string): Array<{ key: string; code: string }> | null {
  if (!/<DeleteResult\b/.test(text)) return null;
  return elementsOf(text, "Error").map((element) => ({
    key: valueOf(element, "Key") ?? "",
    code: valueOf(element, "Code") ?? "",
  }));
}

export function deleteRequestBody(keys: readonly string[]): string {
  const objects = keys.map((key) => `<Object><Key>${escaped(key)}</Key></Object>`).join("");
  const space = "http://s3.amazonaws.com/doc/2006-03-01/";
  return `<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="${space}"><Quiet>true</Quiet>${objects}</Delete>`;
}

function elementsOf(text: string, name: string): string[] {
  return [...text.matchAll(new RegExp(`<${name}>([^]*?)</${name}>`, "g"))].map(
    ([, inner = ""]) => inner,
  );
}

function valueOf(text: string, name: string): string | null {
  const value = new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1];
  return value === undefined ? null : unescaped(value);
}

const entities: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  amp: "&",
};

function unescaped(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return entities[name as string] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex as string, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

function escaped(text: string): string {
  return text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
