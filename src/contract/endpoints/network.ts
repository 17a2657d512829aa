/** The way into a sprite's network, and connections that are used again (contract.md sections 9 and 4). */
import { z } from "zod";

import { startErrors, type Endpoint } from "./endpoint.ts";

export const networkEndpoints: readonly Endpoint[] = [
  {
    method: "WS",
    path: "/v1/sprites/{name}/proxy",
    summary: "A TCP tunnel to a port inside",
    text: [
      'The client\'s first message is text, `{"host":"localhost","port":5432}`; the host is looked up inside.',
      'The answer is `{"status":"connected","target":"localhost:5432"}`, or `{"status":"error","target","error","code"}`',
      "and a close; code is one of connection_refused, timed_out, unreachable, name_not_found, invalid_request, unavailable.",
      "Then binary messages are bytes, both ways, and the target's end is a close with 1000. With `half_close: true`",
      'in the first message either direction is ended by the text message `{"type":"eof"}` instead.',
    ].join(" "),
    answers: { 101: null },
    errors: startErrors,
  },
  {
    method: "WS",
    path: "/v1/sprites/{name}/control",
    summary: "A connection for one operation after another",
    text: [
      'An operation begins with the text message `control:{"type":"op.start","op":"exec","args":{"cmd":["ls"],"stdin":"false"}}`;',
      "the arguments are those of exec's query, and the messages that follow are exec's, in both directions.",
      'It ends with `control:{"type":"op.complete","args":{"exitCode":0}}`, or `control:{"type":"op.error","args":{"error"}}`.',
      "An operation that begins while another goes on takes its place.",
    ].join(" "),
    query: [{ name: "op", text: "begin this at once, with exec's parameters", schema: z.string() }],
    answers: { 101: null },
    errors: ["unavailable"],
  },
  {
    method: "WS",
    path: "/v1/sprites/{name}/ports/watch",
    summary: "TCP ports that open and close inside",
    text:
      'The first message is `{"type":"port_list","ports":[...]}`; then come ' +
      '`{"type":"port_opened","port":3000,"address":"127.0.0.1","pid":12}` and ' +
      "`port_closed` with the same fields. The address is what is listened on; pid is 0 when it is not known.",
    answers: { 101: null },
    errors: ["unavailable"],
  },
];
