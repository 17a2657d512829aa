/** Runs inside the stand-in internet: DNS on one address, HTTP on every address. Ends with its stdin. */
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import { publicAddress, publicName, resolverAddress } from "./internet.ts";

const dnsPort = 53;
const httpPort = 80;

/** Answers A questions for the one name; anything else does not exist (RFC 1035, section 4). */
function answer(question: Buffer): Buffer {
  const labels: string[] = [];
  let at = 12;
  for (let length = question[at] ?? 0; length > 0; length = question[at] ?? 0) {
    labels.push(question.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = question.readUInt16BE(at + 1);
  const known = labels.join(".").toLowerCase() === publicName;
  const withAddress = known && type === 1;
  const header = Buffer.from(question.subarray(0, 12));
  header.writeUInt16BE(known ? 0x8580 : 0x8583, 2);
  header.writeUInt16BE(withAddress ? 1 : 0, 6);
  header.fill(0, 8, 12);
  const parts = [header, question.subarray(12, at + 5)];
  if (withAddress) {
    const record = Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    parts.push(record, Buffer.from(publicAddress.split(".").map(Number)));
  }
  return Buffer.concat(parts);
}

const dns = createSocket("udp4");
dns.on("message", (question, from) => dns.send(answer(question), from.port, from.address));
await new Promise<void>((resolve) => dns.bind(dnsPort, resolverAddress, () => resolve()));

const http = createServer((request, response) => {
  response.end(`hello ${request.socket.remoteAddress ?? ""} from ${request.socket.localAddress}\n`);
});
await new Promise<void>((resolve) => http.listen(httpPort, "0.0.0.0", () => resolve()));

process.stdout.write("ready\n");
process.stdin.on("end", () => process.exit(0)).resume();
