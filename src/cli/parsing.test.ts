import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { apiError, connectionError } from "./api-errors.ts";
import { findCompletion } from "./complete.ts";
import { parseEnvironmentOption, withTerminalVariables } from "./environment-option.ts";
import { CliError, formatError } from "./errors.ts";
import { splitAtDetach, TerminalModes } from "./terminal.ts";
import { checkedApiUrl, checkedToken, orgOfToken, resolveSpriteName } from "./target.ts";

describe("--env", () => {
  test("reads pairs, commas inside values, and escaped commas", () => {
    const read = (...values: string[]): Record<string, string> =>
      Object.fromEntries(parseEnvironmentOption(values));
    assert.deepEqual(read("A=1,B=2", "C=3"), { A: "1", B: "2", C: "3" });
    assert.deepEqual(read("LIST=a,b,c"), { LIST: "a,b,c" });
    assert.deepEqual(read("A=x\\,B=y"), { A: "x,B=y" });
    assert.deepEqual(read("A=,B=a=b"), { A: "", B: "a=b" });
    assert.deepEqual(read("A=1", "A=2"), { A: "2" });
  });

  test("refuses what has no name", () => {
    for (const value of ["", "A", "=1", "1A=x", "A B=1"]) {
      assert.throws(() => parseEnvironmentOption([value]), CliError);
    }
  });

  test("the local terminal's variables lie below the given ones", () => {
    const local = { TERM: "xterm", LANG: "de_DE.UTF-8", LC_ALL: "", SECRET: "x" };
    const merged = withTerminalVariables(new Map([["LANG", "C"]]), local);
    assert.deepEqual(Object.fromEntries(merged), { TERM: "xterm", LANG: "C" });
  });
});

describe("targets", () => {
  test("the organization is the first of three or more parts of a token", () => {
    assert.equal(orgOfToken("acme/org/tok/value"), "acme");
    assert.equal(orgOfToken("acme/tok/value"), "acme");
    assert.equal(orgOfToken("spr_value"), undefined);
    assert.equal(orgOfToken("a/b"), undefined);
  });

  test("URLs lose their slashes and must be URLs", () => {
    assert.equal(checkedApiUrl("http://host:1//", "X"), "http://host:1");
    assert.equal(checkedApiUrl(" https://h/base/ ", "X"), "https://h/base");
    for (const text of ["host:1", "ftp://h", "", "http://h?x=1", "http://user@h"]) {
      assert.throws(() => checkedApiUrl(text, "X"), /X is not an API URL/);
    }
  });

  test("tokens that cannot stand in a header are refused", () => {
    assert.equal(checkedToken(" a/b \n"), "a/b");
    for (const text of ["", "a b", "a\nb", "ü"]) assert.throws(() => checkedToken(text), CliError);
  });

  test("a SPRITE_URL must name a sprite", () => {
    const name = (url: string): string =>
      resolveSpriteName({ option: undefined, env: { SPRITE_URL: url }, directory: "/" });
    assert.equal(name("http://h/v1/sprites/a%2Fb/"), "a/b");
    assert.throws(() => name("http://h"), /SPRITE_URL/);
    assert.throws(() => name("http://h/v1/sprites/%"), /SPRITE_URL/);
  });
});

describe("errors", () => {
  const target = {
    apiUrl: "http://127.0.0.1:7777",
    token: "t",
    org: "acme",
    tokenSource: "stored",
    isVariableIgnored: true,
  } as const;
  const answer = (status: number, body: string, headers = {}): CliError =>
    apiError({ status, body, headers, target });

  test("keep the server's code, words and details", () => {
    const error = answer(429, '{"error":"limit","message":"slow down","retry_after_seconds":30}');
    assert.deepEqual(
      [error.code, error.message, error.details, error.hint],
      ["limit", "slow down", { retry_after_seconds: 30 }, "Try again in 30 s."],
    );
    assert.equal(answer(503, "down", { "retry-after": "5" }).hint, "Try again in 5 s.");
    assert.equal(answer(404, "session not found: 1").message, "session not found: 1");
    assert.equal(answer(502, "<html>").message, "the server answered with status 502");
    assert.equal(answer(500, "\u001b[2J").message, "\\x1b[2J");
    assert.match(
      answer(401, "{}").hint ?? "",
      /SPRITE_TOKEN counts only.*\n.*sprite login\n.*token create/,
    );
  });

  test("a server that is not there comes with the way to start it", () => {
    const cause = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    assert.match(connectionError(cause, target).hint ?? "", /make up/);
  });

  test("are sentences for people and JSON for programs", () => {
    const error = new CliError("it broke", {
      code: "broken",
      hint: "Mend it.\nOr not.",
      status: 500,
    });
    assert.equal(formatError(error, false), "sprite: it broke\n  Mend it.\n  Or not.\n");
    assert.deepEqual(JSON.parse(formatError(error, true)), {
      error: "broken",
      message: "it broke",
      status: 500,
      hint: "Mend it.\nOr not.",
    });
    assert.match(formatError(new TypeError("x"), false), /unexpected failure: x/);
  });
});

describe("completion", () => {
  const words = (...before: string[]): string[] =>
    findCompletion(before, "").candidates.map(({ word }) => word);

  test("walks the tree of commands", () => {
    assert.ok(words().includes("checkpoint"));
    assert.deepEqual(words("checkpoint"), ["create", "list", "info", "diff", "delete"]);
    assert.deepEqual(words("s"), ["list", "attach", "kill"]);
    assert.deepEqual(words("-s", "box", "checkpoint"), [
      "create",
      "list",
      "info",
      "diff",
      "delete",
    ]);
  });

  test("knows what only the server knows", () => {
    const wanted = (...before: string[]): string => findCompletion(before, "").wanted;
    assert.equal(wanted("destroy"), "sprite");
    assert.equal(wanted("exec", "-s"), "sprite");
    assert.equal(wanted("create"), "nothing");
    assert.equal(wanted("create", "copy", "--from"), "sprite");
    assert.equal(findCompletion(["create", "--from", "box"], "").spriteOption, undefined);
    assert.equal(wanted("restore"), "checkpoint");
    assert.equal(wanted("restore", "v1"), "nothing");
    assert.equal(wanted("sessions", "kill"), "session");
    assert.equal(wanted("checkpoint", "diff", "v1"), "checkpoint");
    assert.equal(wanted("services", "logs"), "service");
    assert.equal(wanted("services", "create"), "nothing");
    assert.equal(wanted("policy", "network", "remove", "a.org", "b.org"), "domain");
    assert.equal(wanted("org", "use"), "organization");
    assert.equal(wanted("checkpoint", "list", "--history"), "nothing");
    assert.equal(findCompletion(["-s", "box", "restore"], "").spriteOption, "box");
  });

  test("leaves remote command lines alone", () => {
    assert.equal(findCompletion(["exec", "ls"], "-").candidates.length, 0);
    assert.equal(findCompletion(["exec", "--"], "").candidates.length, 0);
    assert.ok(findCompletion(["exec"], "--").candidates.some(({ word }) => word === "--dir"));
  });
});

describe("terminals", () => {
  test("the detach key is found wherever it stands, in each of its forms", () => {
    for (const key of ["\u001c", "\u001b[92;5u", "\u001b[27;5;92~"]) {
      const { before, isDetach } = splitAtDetach(Buffer.from(`ls${key}rest`));
      assert.deepEqual([before.toString(), isDetach], ["ls", true]);
    }
    assert.equal(splitAtDetach(Buffer.from("ls\u001b[92;6u\\")).isDetach, false);
  });

  test("modes are remembered across pieces and forgotten when switched off", () => {
    const modes = new TerminalModes();
    assert.equal(modes.undo, "");
    for (const piece of ["\u001b", "[?10", "49;2004", "h x \u001b[?25", "l"]) {
      modes.observe(Buffer.from(piece));
    }
    assert.equal(modes.undo, "\u001b[?2004l\u001b[?1049l\u001b[?25h\u001b[0m");
    modes.observe(Buffer.from("\u001b[?1049l\u001b[?2004l\u001b[?25h\u001b[?9999h"));
    assert.equal(modes.undo, "");
  });
});
