import { randomBytes } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";

import { headerLines } from "../base/raw-response.ts";
import { acceptKeyOf } from "../base/web-socket-handshake.ts";
import { SpriteError } from "../contract/errors.ts";
import { toHttp2Headers } from "./http2.ts";
import type { WebSocketClient } from "./web-socket.ts";

/** The HTTP server has let go of the socket: answers are written by hand. */
export function http1WebSocketClient(stream: Duplex, head: Buffer): WebSocketClient {
  return {
    stream,
    handshake: [],
    accept(headers) {
      const lines = headerLines([...headers, "connection", "Upgrade", "upgrade", "websocket"]);
      stream.write(`HTTP/1.1 101 Switching Protocols\r\n${lines}\r\n`, "latin1");
      if (head.length > 0) stream.unshift(head);
    },
    refuse(status, headers) {
      const lines = headerLines([...headers, "connection", "close"]);
      stream.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines}\r\n`, "latin1");
    },
  };
}

/** An extended CONNECT (RFC 8441): the handshake's key is between us and the sprite. */
export function http2WebSocketClient(stream: ServerHttp2Stream): WebSocketClient {
  const key = randomBytes(16).toString("base64");
  return {
    stream,
    handshake: ["sec-websocket-key", key],
    accept(headers) {
      const kept: string[] = [];
      let accepted = "";
      for (let index = 0; index < headers.length; index += 2) {
        const [name = "", value = ""] = [headers[index], headers[index + 1]];
        if (name === "sec-websocket-accept") accepted = value;
        else kept.push(name, value);
      }
      if (accepted !== acceptKeyOf(key)) {
        throw new SpriteError("bad_gateway", "the web server answers no handshake of a WebSocket");
      }
      stream.respond(toHttp2Headers(200, kept));
    },
    refuse(status, headers) {
      stream.respond(toHttp2Headers(status, headers));
    },
  };
}
