import { CliError } from "./errors.ts";
import type { TunnelTarget } from "./tunnel.ts";

export interface Mapping {
  /** 0: any that is free. */
  localPort: number;
  target: TunnelTarget;
}

const hostDefault = "localhost";

/** `PORT`, `LOCAL:REMOTE` or `LOCAL:HOST:REMOTE`; a host with colons stands in brackets. */
export function parseForward(text: string): Mapping {
  const match =
    /^(?:(\d{1,5}):)?(?:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*[A-Za-z._-][A-Za-z0-9._-]*):)?(\d{1,5})$/.exec(
      text,
    );
  const [, local, host, remote] = match ?? [];
  const port = remote === undefined ? Number.NaN : Number(remote);
  const localPort = local === undefined ? port : Number(local);
  const isUsable = port >= 1 && port <= 65_535 && localPort <= 65_535;
  // A host alone, without a local port, would leave open which of the two ports is meant.
  if (!isUsable || (host !== undefined && local === undefined)) {
    throw new CliError(`${JSON.stringify(text)} names no ports`, {
      code: "usage",
      hint: "It is PORT, LOCAL:REMOTE or LOCAL:HOST:REMOTE; LOCAL 0 takes any free port.",
    });
  }
  return { localPort, target: { host: plainHost(host), port } };
}

/** `[HOST]:PORT`, where the host may be left out: `:22`, `22`, `db:5432`, `[::1]:80`. */
export function parseStdioTarget(text: string): TunnelTarget {
  const match = /^(?:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (port >= 1 && port <= 65_535) return { host: plainHost(match?.[1]), port };
  throw new CliError(`${JSON.stringify(text)} is no [host]:port`, { code: "usage" });
}

function plainHost(host: string | undefined): string {
  return host === undefined || host === "" ? hostDefault : host.replace(/^\[|\]$/g, "");
}
