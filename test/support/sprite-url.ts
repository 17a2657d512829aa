/** Requests to a sprite's URL, as a client that trusts the server's authority makes them. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { connect as connectTls } from "node:tls";
import { text } from "node:stream/consumers";

import type { TestServer } from "./server.ts";

export interface SpriteUrl {
  host: string;
  /** For `node:https` and `ws`: whom to connect to, and whom to trust. */
  options(headers?: Record<string, string>): RequestOptions;
  get(path: string, headers?: Record<string, string>): Promise<{ status: number; body: string }>;
  http2(): ClientHttp2Session;
}

export async function spriteUrl(server: TestServer, name: string): Promise<SpriteUrl> {
  const sprite = (await (await server.request(`/v1/sprites/${name}`)).json()) as { url: string };
  const ca = await (await server.request("/ca.pem")).text();
  const { hostname, host, port } = new URL(sprite.url);
  const authorization = `Bearer ${server.token}`;
  const target = { host: "127.0.0.1", port: Number(port), servername: hostname, ca };
  const options = (headers: Record<string, string> = {}): RequestOptions => {
    return { ...target, agent: false, headers: { host, authorization, ...headers } };
  };
  return {
    host,
    options,
    async get(path, headers) {
      const request = httpsRequest({ ...options(headers), path });
      request.end();
      const [response] = (await once(request, "response")) as [IncomingMessage];
      return { status: response.statusCode ?? 0, body: await text(response) };
    },
    http2: () =>
      connectHttp2(`https://${host}`, {
        createConnection: () => connectTls({ ...target, ALPNProtocols: ["h2"] }),
      }),
  };
}
