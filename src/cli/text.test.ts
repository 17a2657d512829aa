import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  closestNames,
  durationText,
  editDistance,
  formatBytes,
  formatFields,
  formatTable,
  formatTableWithin,
  printable,
  relativeTime,
  shellQuote,
} from "./text.ts";

describe("text", () => {
  test("tables align their columns and end without spaces", () => {
    const table = formatTable(
      ["A", "LONG", "C"],
      [
        ["1", "ü", ""],
        ["12345", "x", "y"],
      ],
    );
    assert.equal(table, "A      LONG  C\n1      ü\n12345  x     y\n");
  });

  test("a table that is too wide loses its least needed columns, then the ends of its lines", () => {
    const table = { header: ["NAME", "AGE", "URL"], rows: [["box", "2 days", "https://box.test"]] };
    const within = (columns: number): string =>
      formatTableWithin(table, { columns, dropOrder: ["URL", "AGE"] });
    assert.equal(within(80), formatTable(table.header, table.rows));
    assert.equal(within(20), "NAME  AGE\nbox   2 days\n");
    assert.equal(within(8), "NAME\nbox\n");
    assert.equal(within(2), "N…\nb…\n");
  });

  test("durations have their two largest units", () => {
    const shown = [-5, 0, 400, 1_000, 59_600, 90_000, 3_600_000, 90_060_000].map(durationText);
    const large = ["1 min", "1 min 30 s", "1 h", "1 d 1 h"];
    assert.deepEqual(shown, ["0 s", "0 s", "0 s", "1 s", ...large]);
  });

  test("bytes are short and never rounded to nothing", () => {
    const shown = [0, 1, 999, 1000, 1024, 1_048_576, 5_000_000_000, 2 ** 50].map(formatBytes);
    const small = ["0 bytes", "1 byte", "999 bytes", "1.0 KiB", "1.0 KiB"];
    assert.deepEqual(shown, [...small, "1.0 MiB", "4.7 GiB", "1024 TiB"]);
  });

  test("fields align their values", () => {
    assert.equal(
      formatFields([
        ["A", "1"],
        ["Long", "2"],
        ["", "more"],
      ]),
      "A:    1\nLong: 2\n      more\n",
    );
  });

  test("times are relative to now", () => {
    const now = new Date("2026-01-10T12:00:00Z");
    const cases: [string | null | undefined, string][] = [
      ["2026-01-10T11:59:30Z", "just now"],
      ["2026-01-10T11:59:00Z", "1 minute ago"],
      ["2026-01-10T09:00:01Z", "2 hours ago"],
      ["2026-01-08T12:00:00.000Z", "2 days ago"],
      ["2026-01-01T12:00:00Z", "1 week ago"],
      ["2024-01-10T12:00:00Z", "2 years ago"],
      ["2026-01-10T12:05:00Z", "in 5 minutes"],
      ["yesterday", "yesterday"],
      [null, "-"],
      [undefined, "-"],
      ["", "-"],
    ];
    for (const [time, words] of cases) assert.equal(relativeTime(time, now), words);
  });

  test("text of others cannot steer the terminal", () => {
    assert.equal(printable("a\u001b[2Jb\u0007\u009b"), "a\\x1b[2Jb\\x07\\x9b");
    assert.equal(printable("two\nlines\tü"), "two lines ü");
  });

  test("words are quoted for a shell", () => {
    assert.equal(shellQuote("box-1"), "box-1");
    assert.equal(shellQuote("it's $x"), `'it'\\''s $x'`);
    assert.equal(shellQuote(""), "''");
  });

  test("edit distances", () => {
    assert.equal(editDistance("", "abc"), 3);
    assert.equal(editDistance("kitten", "sitting"), 3);
    assert.equal(editDistance("same", "same"), 0);
  });

  test("suggests only what is close", () => {
    const names = ["box", "build-server", "web", "web-2"];
    const limits = { distanceMax: 3, countMax: 3 };
    assert.deepEqual(closestNames("bx", names, limits), ["box"]);
    assert.deepEqual(closestNames("we", names, limits), ["web", "web-2"]);
    assert.deepEqual(closestNames("build-servr", names, limits), ["build-server"]);
    assert.deepEqual(closestNames("postgres", names, limits), []);
    assert.deepEqual(closestNames("", names, limits), []);
  });
});
