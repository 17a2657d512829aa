/**
 * A name server for namespaces that play the internet, run as a process of its own there. Its arguments are its
 * address and a zone as JSON; it prints `ready`, and then every name that it is asked for.
 */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

import {
  buildAnswer,
  parseQuestion,
  recordType,
  responseCode,
  type AddressRecord,
} from "../sandbox/egress/dns-message.ts";
import { firstMessage, frameMessage } from "../sandbox/egress/upstream.ts";

/** By name; `*.domain` answers for every name below it, the address `random` with another one each time. */
export type Zone = Readonly<Record<string, { addresses?: readonly string[]; alias?: string }>>;

const ttlSeconds = 5;
const dnsPort = 53;

const [address = "", zoneText = "{}"] = process.argv.slice(2);
const zone = JSON.parse(zoneText) as Zone;

function entryOf(name: string): Zone[string] | undefined {
  return zone[name] ?? zone[`*.${name.slice(name.indexOf(".") + 1)}`];
}

function recordsOf(name: string): AddressRecord[] {
  const { addresses = [], alias } = entryOf(name) ?? {};
  const own = addresses.map((one) => {
    const address = one === "random" ? `203.0.${randomInt(255)}.${randomInt(255)}` : one;
    return { name, ttl: ttlSeconds, address };
  });
  if (alias === undefined) return own;
  return [{ name, ttl: ttlSeconds, target: alias }, ...recordsOf(alias)];
}

function answer(message: Buffer, bytesMax?: number): Buffer | null {
  const question = parseQuestion(message);
  if (question === null || question.name === null) return null;
  const { name, type } = question;
  process.stdout.write(`${name}\n`);
  if (entryOf(name) === undefined) return buildAnswer(question, { code: responseCode.noSuchName });
  const records = type === recordType.a ? recordsOf(name) : [];
  const cut = bytesMax === undefined ? {} : { bytesMax };
  return buildAnswer(question, { code: responseCode.noError, records, ...cut });
}

const udp = createSocket("udp4");
udp.on("message", (message, from) => {
  const bytes = answer(message);
  if (bytes !== null) udp.send(bytes, from.port, from.address);
});
const tcp = createServer((stream) => {
  stream.on("error", () => stream.destroy());
  stream.on("data", (bytes: Buffer) => {
    const message = firstMessage(bytes);
    const reply = message === null ? null : answer(message, 65_535);
    if (reply !== null) stream.write(frameMessage(reply));
  });
});
udp.bind(dnsPort, address, () => {
  tcp.listen(dnsPort, address, () => process.stdout.write("ready\n"));
});
process.stdin.on("end", () => process.exit(0)).resume();
