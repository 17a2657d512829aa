import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";

import { parseControlText, sniffSessionControl } from "../../contract/control-frames.ts";
import { SpriteError } from "../../contract/errors.ts";
import { parseTunnelTarget } from "../../contract/proxy.ts";
import { attachTarget, parseAttachSize, parseOpenSession } from "../api/exec-parameters.ts";
import { queryOfArguments } from "./arguments.ts";

const names = [
  ...[
    "cmd",
    "path",
    "env",
    "dir",
    "tty",
    "rows",
    "cols",
    "stdin",
    "id",
    "session_id",
    "detachable",
  ],
  ...["max_run_after_disconnect", "__proto__", "constructor"],
];
const value = fc.oneof(fc.string(), fc.jsonValue(), fc.array(fc.string()), fc.boolean(), fc.nat());
const args = fc.dictionary(fc.constantFrom(...names), value);

/** What is refused is refused by an error of ours. */
function survives(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof SpriteError, String(error));
    assert.equal(error.code, "invalid_request");
  }
}

test("any arguments of an operation are understood or refused", () => {
  fc.assert(
    fc.property(args, (given) => {
      const text = `control:${JSON.stringify({ type: "op.start", op: "exec", args: given })}`;
      const request = parseControlText(text);
      assert.equal(request?.kind, "start");
      survives(() => {
        const query = queryOfArguments(request?.kind === "start" ? request.args : {});
        if (attachTarget(query) === null) parseOpenSession(query, {});
        else parseAttachSize(query);
      });
    }),
    { numRuns: 1_000 },
  );
});

test("any text and any frame is a message, none, or refused", () => {
  const json = fc.jsonValue().map((one) => JSON.stringify(one));
  const text = fc.oneof(fc.string(), json).chain((one) => fc.constantFrom(one, `control:${one}`));
  fc.assert(
    fc.property(text, (one) => {
      parseControlText(one);
      sniffSessionControl(Buffer.from(one));
      survives(() => parseTunnelTarget(one));
    }),
    { numRuns: 2_000 },
  );
});
