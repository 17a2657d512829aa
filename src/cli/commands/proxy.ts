import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { PortForward } from "../port-forward.ts";
import { parseForward, parseStdioTarget } from "../port-mapping.ts";
import { formatError } from "../errors.ts";
import { Tunnel, type TunnelEnd } from "../tunnel.ts";

const bindDefault = "127.0.0.1";

/** `sprite proxy 8080 15432:5432`: local ports that lead into the sprite, until Ctrl+C. */
export async function proxy(cli: Cli, args: readonly string[]): Promise<number> {
  if (cli.options.stdio !== undefined) return await proxyStdio(cli, cli.options.stdio, args);
  if (args.length === 0) {
    throw new CliError("no port was named", {
      code: "usage",
      hint: "For example: sprite proxy 8080, or sprite proxy 15432:5432",
    });
  }
  const mappings = args.map(parseForward);
  const name = cli.spriteName();
  const bind = cli.options.bind ?? bindDefault;
  const { client } = cli;
  // Asks once now, so that a wrong name is told before anybody connects.
  await cli.forSprite(name, (path) => client.json<unknown>("GET", path));
  const onFailure = (error: unknown): void => {
    cli.surroundings.err.write(formatError(error, cli.isJson));
  };
  const forwards: PortForward[] = [];
  try {
    for (const { localPort, target } of mappings) {
      const path = `/v1/sprites/${encodeURIComponent(name)}`;
      forwards.push(await PortForward.listen({ client, path, bind, localPort, target, onFailure }));
    }
  } catch (error) {
    for (const forward of forwards) forward.close();
    throw error;
  }
  announce(cli, name, forwards);
  return await untilSignal(forwards);
}

function announce(cli: Cli, name: string, forwards: readonly PortForward[]): void {
  if (cli.isJson) {
    cli.printJson(
      forwards.map(({ address, target }) => ({
        local_address: address.address,
        local_port: address.port,
        remote_host: target.host,
        remote_port: target.port,
      })),
    );
    return;
  }
  for (const { address, target } of forwards) {
    const here = `${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
    cli.print(`${here} -> ${target.host}:${target.port} in ${name}\n`);
  }
  cli.note("Ctrl+C ends it.\n");
}

async function untilSignal(forwards: readonly PortForward[]): Promise<number> {
  const exitCode = await new Promise<number>((resolve) => {
    process.once("SIGINT", () => resolve(130));
    process.once("SIGTERM", () => resolve(143));
  });
  for (const forward of forwards) forward.close();
  return exitCode;
}

/** `sprite proxy -W [HOST]:PORT`: one connection, which is our stdin and stdout. */
async function proxyStdio(cli: Cli, text: string, args: readonly string[]): Promise<number> {
  if (args.length > 0) {
    throw new CliError("-W carries one connection and takes no further ports", { code: "usage" });
  }
  const target = parseStdioTarget(text);
  const name = cli.spriteName();
  const tunnel = await cli.forSprite(name, (path) => Tunnel.open(cli.client, path, target));
  const { out } = cli.surroundings;
  const { stdin } = process;
  const end: TunnelEnd = {
    onDrain: null,
    start: (input) => {
      let isEnded = false;
      const finish = (): void => {
        if (!isEnded) input.end();
        isEnded = true;
      };
      stdin.on("data", (bytes: Buffer) => input.data(bytes));
      stdin.once("end", finish);
      // A stdin that cannot be read is one that has ended.
      stdin.on("error", finish);
    },
    pause: () => stdin.pause(),
    resume: () => stdin.resume(),
    write: (bytes) => {
      out.write(bytes);
      return !out.isFull;
    },
    // What is left of stdin still goes in; the target ends the tunnel when it has read it.
    end: () => {},
  };
  out.onDrain = () => end.onDrain?.();
  out.onFailure = () => tunnel.close();
  tunnel.join(end);
  const how = await tunnel.closed;
  stdin.destroy();
  out.onDrain = null;
  out.onFailure = null;
  await out.flush();
  if (how === "ended" || out.failure !== null) return 0;
  throw new CliError("the connection broke off", { code: "connection_lost" });
}
