import type { Log } from "../base/log.ts";
import type { Control } from "../control/control.ts";
import type { Certificates } from "../edge/certificates/open-certificates.ts";
import { Edge } from "../edge/edge.ts";
import { PlainPort } from "../edge/plain-port.ts";
import { UrlGate } from "../edge/access/url-gate.ts";
import type { ServeOptions } from "./options.ts";

/** Serves the sprites' URLs, if there is a port for them. What it gives stops that. */
export async function openEdge(
  options: Pick<ServeOptions, "listenTls" | "listenHttp" | "urlDomain">,
  { control, certificates, log }: { control: Control; certificates: Certificates; log: Log },
): Promise<() => Promise<void>> {
  const { listenTls, listenHttp, urlDomain } = options;
  if (listenTls === null) return async () => undefined;
  const edge = new Edge({
    ...{ listen: listenTls, domain: urlDomain, log },
    gatekeeper: new UrlGate({ access: control.urlAccess, domain: urlDomain }),
    certificates: certificates.source,
    sprites: control.spriteUrls,
    serveApi: (socket) => control.serveConnection(socket),
    onAnswered: ({ status, seconds }) => {
      // How long a WebSocket was open is not how long somebody waited.
      if (status === 101) return control.metrics.count("opensprites_edge_upgrades_total");
      const labels = { status: `${Math.floor(status / 100)}xx` };
      control.metrics.observe("opensprites_edge_request_duration_seconds", seconds, labels);
    },
  });
  const { port } = await edge.start();
  control.setUrlPort(port);
  if (listenHttp === null) {
    certificates.start();
    return async () => await edge.stop();
  }
  const plain = new PlainPort({
    ...{ domain: urlDomain, tlsPort: port },
    challengeAnswer: (hostName, path) => certificates.challengeAnswer(hostName, path),
  });
  try {
    await plain.listen(listenHttp);
    certificates.start();
  } catch (error) {
    await edge.stop();
    throw error;
  }
  return async () => {
    await Promise.all([plain.stop(), edge.stop()]);
  };
}
