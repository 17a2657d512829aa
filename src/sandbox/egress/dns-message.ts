/**
 * DNS messages (RFC 1035, section 4), as far as a resolver with a policy looks into them. Pure. What
 * comes in is a guest's or a stranger's: every step is bounded and whatever is odd reads as null.
 */

import { pointersMax, recordsMax } from "./limits.ts";

export const recordType = {
  a: 1,
  ns: 2,
  cname: 5,
  soa: 6,
  ptr: 12,
  mx: 15,
  txt: 16,
  aaaa: 28,
  srv: 33,
  opt: 41,
  svcb: 64,
  https: 65,
  caa: 257,
} as const;

export const responseCode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  refused: 5,
} as const;

const headerBytes = 12;
const internetClass = 1;
const nameBytesMax = 255;
const labelBytesMax = 63;
const flag = { answer: 0x8000, truncated: 0x0200, recursionDesired: 0x0100, available: 0x0080 };

export interface DnsQuestion {
  id: number;
  /** In lower case, without a final dot; null when it has other characters than host names have. */
  name: string | null;
  type: number;
  class: number;
  recursionDesired: boolean;
  /** The largest answer that the asker takes over UDP. */
  answerBytesMax: number;
  hasExtension: boolean;
  /** The question as it came: an answer repeats it byte for byte. */
  bytes: Buffer;
}

export type AddressRecord = { name: string; ttl: number } & (
  | { address: string }
  | { target: string }
);

export interface DnsAnswer {
  id: number;
  code: number;
  truncated: boolean;
  /** Its A and CNAME records; null when one of them cannot be read. */
  records: AddressRecord[];
}

/** Null for what is no plain question. */
export function parseQuestion(message: Buffer): DnsQuestion | null {
  if (message.length < headerBytes) return null;
  const flags = message.readUInt16BE(2);
  const operation = (flags >> 11) & 15;
  if ((flags & flag.answer) !== 0 || operation !== 0) return null;
  if (message.readUInt16BE(4) !== 1 || message.readUInt16BE(6) !== 0) return null;
  const name = readName(message, headerBytes);
  if (name === null || name.end + 4 > message.length) return null;
  const end = name.end + 4;
  const extension = findExtension(message, end);
  return {
    id: message.readUInt16BE(0),
    name: plainName(name.labels),
    type: message.readUInt16BE(name.end),
    class: message.readUInt16BE(name.end + 2),
    recursionDesired: (flags & flag.recursionDesired) !== 0,
    answerBytesMax: Math.max(512, extension ?? 0),
    hasExtension: extension !== null,
    bytes: message.subarray(headerBytes, end),
  };
}

export function isInternet(question: DnsQuestion): boolean {
  return question.class === internetClass;
}

/** A question of our own making: nothing of what the guest wrote goes along but the name, in one spelling. */
export function buildQuestion(question: { id: number; name: string; type: number }): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt16BE(question.id, 0);
  header.writeUInt16BE(flag.recursionDesired, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 10);
  const tail = Buffer.alloc(4);
  tail.writeUInt16BE(question.type, 0);
  tail.writeUInt16BE(internetClass, 2);
  return Buffer.concat([header, writeName(question.name), tail, extensionRecord]);
}

/** EDNS (RFC 6891): answers up to a size that passes every link whole. */
const extensionBytesMax = 1232;
const extensionRecord = Buffer.from([
  0,
  0,
  recordType.opt,
  extensionBytesMax >> 8,
  extensionBytesMax & 255,
  ...[0, 0, 0, 0, 0, 0],
]);

/** Null for what is no answer to that question, or cannot be read. */
export function parseAnswer(
  message: Buffer,
  asked: { name: string; type: number },
): DnsAnswer | null {
  if (message.length < headerBytes) return null;
  const flags = message.readUInt16BE(2);
  if ((flags & flag.answer) === 0 || message.readUInt16BE(4) !== 1) return null;
  const name = readName(message, headerBytes);
  if (name === null || name.end + 4 > message.length) return null;
  if (plainName(name.labels) !== asked.name) return null;
  if (message.readUInt16BE(name.end) !== asked.type) return null;
  const records = readRecords(message, name.end + 4, message.readUInt16BE(6));
  if (records === null) return null;
  return {
    id: message.readUInt16BE(0),
    code: flags & 15,
    truncated: (flags & flag.truncated) !== 0,
    records,
  };
}

/** An answer with the given records, in order; as many of them as fit, and then it says that it is cut. */
export function buildAnswer(
  question: DnsQuestion,
  answer: { code: number; records?: readonly AddressRecord[]; bytesMax?: number },
): Buffer {
  const { bytesMax = question.answerBytesMax } = answer;
  const tail = question.hasExtension ? extensionRecord : Buffer.alloc(0);
  const parts = [Buffer.alloc(headerBytes), question.bytes];
  let sizeBytes = headerBytes + question.bytes.length + tail.length;
  let count = 0;
  const records = answer.records ?? [];
  for (const record of records) {
    const bytes = writeRecord(record, question.name);
    if (sizeBytes + bytes.length > bytesMax) break;
    parts.push(bytes);
    sizeBytes += bytes.length;
    count += 1;
  }
  const header = parts[0] as Buffer;
  header.writeUInt16BE(question.id, 0);
  const flags =
    flag.answer |
    flag.available |
    (question.recursionDesired ? flag.recursionDesired : 0) |
    (count < records.length ? flag.truncated : 0);
  header.writeUInt16BE(flags | answer.code, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(count, 6);
  header.writeUInt16BE(tail.length > 0 ? 1 : 0, 10);
  return Buffer.concat([...parts, tail]);
}

/** For a message that is no question we understand: its id and an error; null when it has not even that. */
export function buildError(message: Buffer, code: number): Buffer | null {
  if (message.length < headerBytes || (message.readUInt16BE(2) & flag.answer) !== 0) return null;
  const header = Buffer.alloc(headerBytes);
  header.writeUInt16BE(message.readUInt16BE(0), 0);
  const operation = message.readUInt16BE(2) & 0x7800;
  header.writeUInt16BE(flag.answer | flag.available | operation | code, 2);
  return header;
}

/** The names from the asked one to the last alias, and the addresses of that. */
export function followAliases(
  name: string,
  records: readonly AddressRecord[],
): { names: string[]; addresses: Array<{ address: string; ttl: number }> } {
  const names = [name];
  let ttl = Number.MAX_SAFE_INTEGER;
  for (let last = name; names.length < pointersMax;) {
    const alias = records.find((record) => "target" in record && record.name === last);
    if (alias === undefined || !("target" in alias) || names.includes(alias.target)) break;
    last = alias.target;
    ttl = Math.min(ttl, alias.ttl);
    names.push(last);
  }
  const owner = names.at(-1);
  const addresses = records.flatMap((record) =>
    "address" in record && record.name === owner
      ? [{ address: record.address, ttl: Math.min(ttl, record.ttl) }]
      : [],
  );
  return { names, addresses };
}

function readRecords(message: Buffer, start: number, count: number): AddressRecord[] | null {
  const records: AddressRecord[] = [];
  let at = start;
  for (let index = 0; index < Math.min(count, recordsMax); index += 1) {
    const owner = readName(message, at);
    if (owner === null || owner.end + 10 > message.length) return null;
    const type = message.readUInt16BE(owner.end);
    const isInternetClass = message.readUInt16BE(owner.end + 2) === internetClass;
    // RFC 2181, section 8: a value with the highest bit set counts as zero.
    const ttl = Math.max(0, message.readInt32BE(owner.end + 4));
    const dataAt = owner.end + 10;
    const dataEnd = dataAt + message.readUInt16BE(owner.end + 8);
    if (dataEnd > message.length) return null;
    const name = plainName(owner.labels);
    if (isInternetClass && name !== null) {
      if (type === recordType.a && dataEnd - dataAt === 4) {
        records.push({ name, ttl, address: [...message.subarray(dataAt, dataEnd)].join(".") });
      } else if (type === recordType.cname) {
        const target = readName(message, dataAt);
        const plain = target === null ? null : plainName(target.labels);
        if (plain === null) return null;
        records.push({ name, ttl, target: plain });
      }
    }
    at = dataEnd;
  }
  return records;
}

function writeRecord(record: AddressRecord, askedName: string | null): Buffer {
  const owner =
    record.name === askedName ? Buffer.from([0xc0, headerBytes]) : writeName(record.name);
  const data =
    "address" in record
      ? Buffer.from(record.address.split(".").map(Number))
      : writeName(record.target);
  const middle = Buffer.alloc(10);
  middle.writeUInt16BE("address" in record ? recordType.a : recordType.cname, 0);
  middle.writeUInt16BE(internetClass, 2);
  middle.writeUInt32BE(record.ttl, 4);
  middle.writeUInt16BE(data.length, 8);
  return Buffer.concat([owner, middle, data]);
}

/** The payload size of an OPT record right after the question, where every client puts it; else null. */
function findExtension(message: Buffer, at: number): number | null {
  if (at + 11 > message.length || message[at] !== 0) return null;
  if (message.readUInt16BE(at + 1) !== recordType.opt) return null;
  return Math.min(message.readUInt16BE(at + 3), 4096);
}

interface NameRead {
  labels: Buffer[];
  /** The first byte behind it. */
  end: number;
}

function readName(message: Buffer, start: number): NameRead | null {
  const labels: Buffer[] = [];
  let sizeBytes = 1;
  let end: number | null = null;
  let pointers = 0;
  for (let at = start; ;) {
    const length = message[at];
    if (length === undefined) return null;
    if (length === 0) return { labels, end: end ?? at + 1 };
    if (length >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) return null;
      end ??= at + 2;
      const target = ((length & 0x3f) << 8) | low;
      pointers += 1;
      // Only backwards: no loop.
      if (target >= at || pointers > pointersMax) return null;
      at = target;
      continue;
    }
    if (length > labelBytesMax || at + 1 + length > message.length) return null;
    sizeBytes += 1 + length;
    if (sizeBytes > nameBytesMax) return null;
    labels.push(message.subarray(at + 1, at + 1 + length));
    at += 1 + length;
  }
}

function plainName(labels: readonly Buffer[]): string | null {
  const name = labels.map((label) => label.toString("latin1")).join(".");
  return /^[\w-]+(\.[\w-]+)*$/.test(name) && labels.every(hasNoDot) ? name.toLowerCase() : null;
}

function hasNoDot(label: Buffer): boolean {
  return !label.includes(0x2e);
}

function writeName(name: string): Buffer {
  const labels = name.split(".").map((label) => {
    const bytes = Buffer.from(label, "latin1");
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  return Buffer.concat([...labels, Buffer.from([0])]);
}
