import type { Log } from "../base/log.ts";
import type { Control } from "../control/control.ts";
import type { Certificates } from "../edge/certificates/open-certificates.ts";
import { Edge } from "../edge/edge.ts";
import type { Gatekeeper } from "../edge/gatekeeper.ts";
import type { ServeOptions } from "./options.ts";

/** Nobody is let in until the server knows its visitors. */
const gatekeeper: Gatekeeper = {
  admit: () => ({ admitted: false, answer: { status: 403, headers: {}, body: "" } }),
};

/** Serves the sprites' URLs, if there is a port for them. What it gives stops that. */
export async function openEdge(
  options: Pick<ServeOptions, "listenTls" | "urlDomain">,
  { control, certificates, log }: { control: Control; certificates: Certificates; log: Log },
): Promise<() => Promise<void>> {
  const { listenTls, urlDomain } = options;
  if (listenTls === null) return async () => undefined;
  const edge = new Edge({
    ...{ listen: listenTls, domain: urlDomain, gatekeeper, log },
    certificates: certificates.source,
    sprites: control.spriteUrls,
    serveApi: (socket) => control.serveConnection(socket),
  });
  const { port } = await edge.start();
  control.setUrlPort(port);
  return async () => await edge.stop();
}
