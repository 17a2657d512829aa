import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BrowserRequests } from "./browser-requests.ts";
import { browserUrlLengthMax } from "./limits.ts";

function filterAll(pieces: readonly Buffer[]): { shown: string; urls: string[] } {
  const urls: string[] = [];
  const requests = new BrowserRequests((url) => urls.push(url));
  const shown = pieces.map((piece) => requests.filter(piece));
  return { shown: Buffer.concat([...shown, requests.release()]).toString("latin1"), urls };
}

const of = (text: string): { shown: string; urls: string[] } =>
  filterAll([Buffer.from(text, "latin1")]);
const ask = (url: string, end = "\u001b\\"): string => `\u001b]7770;open;${url}${end}`;

test("a request is taken out of the output, whichever of its two ends it has", () => {
  const page = "https://example.com/a?b=c#d";
  assert.deepEqual(of(`x${ask(page)}y`), { shown: "xy", urls: [page] });
  assert.deepEqual(of(ask(page, "\u0007")), { shown: "", urls: [page] });
  assert.deepEqual(of(`${ask(page)}${ask("http://b.c")}`), {
    shown: "",
    urls: [page, "http://b.c"],
  });
});

test("what is no web address opens nothing, and is not shown either", () => {
  const wrong = [
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://a b",
    `https://a"b`,
    "HTTPS://x",
    "https://",
  ];
  for (const url of wrong)
    assert.deepEqual(of(ask(url)), { shown: "", urls: [] }, url.slice(0, 50));
  assert.deepEqual(of("\u001b]7770;close;https://a\u0007"), { shown: "", urls: [] });
});

test("a request that breaks off is forgotten, and what follows is shown", () => {
  assert.deepEqual(of("\u001b]7770;open;https://a\nnext"), { shown: "\nnext", urls: [] });
  assert.deepEqual(of("\u001b]7770;open;https://a\u001b[1mnext"), {
    shown: "\u001b[1mnext",
    urls: [],
  });
  const endless = of(`\u001b]7770;open;https://${"a".repeat(20_000)}`);
  assert.deepEqual(endless.urls, []);
  assert.ok(endless.shown.length < 20_000);
  assert.deepEqual(of(ask(`https://${"a".repeat(browserUrlLengthMax)}`)).urls, []);
  assert.deepEqual(of("\u001b]0;title\u0007\u001b[31mred"), {
    shown: "\u001b]0;title\u0007\u001b[31mred",
    urls: [],
  });
});

test("however the bytes are cut, output and requests are the same, and nothing is held for long", () => {
  const part = fc.oneof(
    fc.constantFrom(
      "\u001b",
      "\u001b]",
      "\u001b]77",
      "\u0007",
      "\u001b\\",
      "\u001b[0m",
      "7770;open;",
    ),
    fc.string({ maxLength: 6 }),
    fc.webUrl().map((url) => ask(url)),
    fc.webUrl().map((url) => ask(url, "\u0007")),
  );
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 12 }),
      fc.array(fc.nat(400), { maxLength: 20 }),
      (parts, cuts) => {
        const bytes = Buffer.from(parts.join(""), "latin1");
        const places = [
          ...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length]),
        ].toSorted((a, b) => a - b);
        const pieces = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
        assert.deepEqual(filterAll(pieces), filterAll([bytes]));
      },
    ),
    { numRuns: 500 },
  );
});
