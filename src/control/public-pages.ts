/** What everybody may read without a token: the API's description, for programs and for agents. */
import { readFile } from "node:fs/promises";

export interface PublicPage {
  contentType: string;
  bytes: Buffer;
}

type Make = (version: string) => Promise<Buffer>;

const pages: ReadonlyMap<string, { contentType: string; make: Make }> = new Map([
  ["/openapi.json", { contentType: "application/json", make: makeDocument }],
  ["/llms.txt", { contentType: "text/plain; charset=utf-8", make: readText }],
]);

/** Made when first asked for: most servers never are, and the schemas' conversion takes a while. */
const made = new Map<string, Promise<Buffer>>();

export function isPublicPage(rawPath: string): boolean {
  return pages.has(rawPath);
}

/** The caller has asked `isPublicPage`. */
export async function publicPage(rawPath: string, version: string): Promise<PublicPage> {
  const page = pages.get(rawPath);
  if (page === undefined) throw new Error(`no page ${rawPath}`);
  const key = `${version} ${rawPath}`;
  const bytes = made.get(key) ?? page.make(version);
  made.set(key, bytes);
  // Asked again it may succeed.
  bytes.catch(() => made.delete(key));
  return { contentType: page.contentType, bytes: await bytes };
}

async function makeDocument(version: string): Promise<Buffer> {
  const { openApiDocument } = await import("../contract/endpoints/document.ts");
  return Buffer.from(JSON.stringify(openApiDocument({ version })));
}

function readText(): Promise<Buffer> {
  return readFile(new URL("llms.txt", import.meta.url));
}
