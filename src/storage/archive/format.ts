/**
 * One file that holds a sprite (docs/formats/archive.md): a magic, then sections one after the other, so
 * that it can be written to a pipe and read from one.
 */
import { createHash, type Hash } from "node:crypto";
import { promisify } from "node:util";
import { zstdCompress, zstdDecompress } from "node:zlib";
import { archiveMagic } from "../../contract/archive.ts";
import { SpriteError } from "../../contract/errors.ts";
import { headerSizeBytesMax, sectionSizeBytesMax } from "./limits.ts";

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

const magic = Buffer.from(archiveMagic, "latin1");
const lengthSizeBytes = 4;
/** The first section: JSON, never packed. */
export const spriteKind = "sprite";
const endKind = "end";

export interface Section {
  /** Kinds that a reader does not know, it refuses: leaving something out would not be the sprite. */
  kind: string;
  name: string;
  bytes: Uint8Array;
}

interface SectionHeader {
  kind: string;
  name: string;
  codec: "none" | "zstd";
  /** Bytes that follow the header. */
  storedBytes: number;
  /** Bytes of the content. */
  sizeBytes: number;
  /** SHA-256 of what follows, hex. Of `end`: of all headers before, with their lengths. */
  sha256: string;
}

/** Yields the archive of these sections, a piece at a time. */
export async function* writeArchive(sections: AsyncIterable<Section>): AsyncGenerator<Uint8Array> {
  const headers = createHash("sha256");
  yield magic;
  for await (const { kind, name, bytes } of sections) {
    // What says whose archive it is, anybody can read without unpacking.
    const packed = kind === spriteKind ? bytes : await compress(bytes);
    const isSmaller = packed.length < bytes.length * 0.9;
    const stored = isSmaller ? packed : bytes;
    const header = encodeHeader({
      ...{ kind, name, codec: isSmaller ? "zstd" : "none" },
      ...{ storedBytes: stored.length, sizeBytes: bytes.length, sha256: sha256(stored) },
    });
    headers.update(header);
    yield header;
    yield stored;
  }
  yield encodeHeader({
    ...{ kind: endKind, name: "", codec: "none", storedBytes: 0, sizeBytes: 0 },
    sha256: headers.digest("hex"),
  });
}

/**
 * The sections of an archive, each verified before it is handed out; that all of them were there is known only
 * when this has ended without an error.
 * @throws SpriteError invalid_request: it is no archive, or damaged
 */
export async function* readArchive(source: AsyncIterable<Uint8Array>): AsyncGenerator<Section> {
  const reader = new PieceReader(source);
  if (!magic.equals(await reader.take(magic.length))) throw damaged("it does not begin as one");
  const headers = createHash("sha256");
  for (;;) {
    const { bytes, header } = await readHeader(reader);
    if (header.kind === endKind) {
      checkEnd(header, headers);
      if (!(await reader.isAtEnd())) throw damaged("something follows its end");
      return;
    }
    headers.update(bytes);
    const stored = await reader.take(header.storedBytes);
    if (sha256(stored) !== header.sha256) throw damaged(`section ${header.kind} ${header.name}`);
    yield { kind: header.kind, name: header.name, bytes: await unpack(header, stored) };
  }
}

function checkEnd(header: SectionHeader, headers: Hash): void {
  if (header.sha256 !== headers.digest("hex")) throw damaged("a section is missing or changed");
}

async function unpack(header: SectionHeader, stored: Uint8Array): Promise<Uint8Array> {
  let bytes: Uint8Array = stored;
  if (header.codec === "zstd") {
    // The limit before the work: a few bytes may claim to be gigabytes.
    bytes = await decompress(stored, { maxOutputLength: header.sizeBytes || 1 }).catch(() => {
      throw damaged(`section ${header.kind} ${header.name} does not unpack`);
    });
  }
  if (bytes.length === header.sizeBytes) return bytes;
  throw damaged(`section ${header.kind} ${header.name} has another size`);
}

function encodeHeader(header: SectionHeader): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const bytes = Buffer.alloc(lengthSizeBytes + json.length);
  bytes.writeUInt32LE(json.length, 0);
  json.copy(bytes, lengthSizeBytes);
  return bytes;
}

async function readHeader(reader: PieceReader): Promise<{ bytes: Buffer; header: SectionHeader }> {
  const length = await reader.take(lengthSizeBytes);
  const jsonBytes = length.readUInt32LE(0);
  if (jsonBytes > headerSizeBytesMax) throw damaged("a header is too long");
  const json = await reader.take(jsonBytes);
  return { bytes: Buffer.concat([length, json]), header: parseHeader(json) };
}

function parseHeader(json: Buffer): SectionHeader {
  let value: unknown;
  try {
    value = JSON.parse(json.toString("utf8"));
  } catch (cause) {
    throw damaged("a header is no JSON", cause);
  }
  const header = value as Partial<SectionHeader> | null;
  const isSize = (size: unknown): boolean =>
    Number.isSafeInteger(size) && Number(size) >= 0 && Number(size) <= sectionSizeBytesMax;
  if (
    typeof header !== "object" ||
    header === null ||
    [header.kind, header.name, header.sha256].some((text) => typeof text !== "string") ||
    !isSize(header.storedBytes) ||
    !isSize(header.sizeBytes)
  ) {
    throw damaged("a header makes no sense");
  }
  if (header.codec !== "none" && header.codec !== "zstd") {
    throw new SpriteError("invalid_request", `the archive uses a codec that is not known here`);
  }
  return header as SectionHeader;
}

/** Bytes in the lengths that are asked for, of pieces as they come. */
class PieceReader {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#pieces = source[Symbol.asyncIterator]();
  }

  async take(lengthBytes: number): Promise<Buffer> {
    const parts: Buffer[] = [this.#rest];
    let have = this.#rest.length;
    while (have < lengthBytes) {
      const next = await this.#pieces.next();
      if (next.done === true) throw damaged("it ends too early");
      const { buffer, byteOffset, byteLength } = next.value;
      parts.push(Buffer.from(buffer, byteOffset, byteLength));
      have += byteLength;
    }
    const all = parts.length === 1 ? this.#rest : Buffer.concat(parts);
    this.#rest = all.subarray(lengthBytes);
    return all.subarray(0, lengthBytes);
  }

  async isAtEnd(): Promise<boolean> {
    if (this.#rest.length > 0) return false;
    return (await this.#pieces.next()).done === true;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function damaged(what: string, cause?: unknown): SpriteError {
  return new SpriteError("invalid_request", `the archive is damaged: ${what}`, { cause });
}
