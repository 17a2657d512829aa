/**
 * Runs inside the stand-in internet, on all of its addresses: HTTP on port 80, and listeners that only say that they
 * were reached, on the ports by which somebody might try to get out. Ends with its stdin.
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { otherAddress, publicAddress, metadataAddress } from "./internet.ts";

const httpPort = 80;
const addresses = [publicAddress, otherAddress, metadataAddress];
/** DNS over TLS, HTTPS, mail, and one like any other. The name server has 53 at an address of its own. */
const tcpPorts = [25, 53, 443, 853, 4444];
const udpPorts = [53, 123, 443, 853, 4444];

function note(text: string): void {
  process.stdout.write(`${text.replaceAll("\n", " ")}\n`);
}

const http = createServer((request, response) => {
  response.end(`hello ${request.socket.remoteAddress ?? ""} from ${request.socket.localAddress}\n`);
});
await new Promise<void>((resolve) => http.listen(httpPort, "0.0.0.0", () => resolve()));

for (const address of addresses) {
  for (const port of tcpPorts) {
    // Sends back what it hears, so that a connection can be seen to live.
    const server = createTcpServer((stream) => {
      note(`tcp ${port}`);
      stream.on("error", () => stream.destroy()).pipe(stream);
    });
    await new Promise<void>((resolve) => server.listen(port, address, () => resolve()));
  }
  for (const port of udpPorts) {
    const socket = createSocket("udp4");
    socket.on("message", (message) =>
      note(`udp ${port} ${message.toString("latin1").slice(0, 200)}`),
    );
    await new Promise<void>((resolve) => socket.bind(port, address, () => resolve()));
  }
}

process.stdout.write("ready\n");
process.stdin.on("end", () => process.exit(0)).resume();
