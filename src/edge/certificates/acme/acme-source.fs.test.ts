import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, describe, test } from "node:test";

import { waitUntil } from "../../../base/wait.ts";
import { Authority } from "../authority.ts";
import { leafLifetimeMs, ordersMax, ordersWindowMs, retryDelayMs } from "../limits.ts";
import { AcmeSource } from "./acme-source.ts";
import { CertificateStore } from "./certificate-store.ts";
import { OrderRecord } from "./order-record.ts";

const domain = "sprites.example";
const root = mkdtempSync(join(tmpdir(), "acme-source-"));
const dayMs = 24 * 3600_000;

describe("certificates of an ACME service", () => {
  after(() => rmSync(root, { recursive: true, force: true }));
  let directory = "";
  let nowMs = 0;
  /** The names of each order, and why the next ones fail. */
  let ordered: string[] = [];
  let refusal: string | null = null;
  let problems: string[] = [];
  let known: Set<string>;
  const sources: AcmeSource[] = [];
  beforeEach(() => {
    directory = mkdtempSync(join(root, "case-"));
    nowMs = Date.now();
    ordered = [];
    problems = [];
    refusal = null;
    known = new Set();
  });
  afterEach(() => {
    for (const source of sources.splice(0)) source.stop();
  });

  const open = async (isWildcard: boolean): Promise<AcmeSource> => {
    const clock = { now: () => nowMs, random: () => 0 };
    const authority = await Authority.open({ directory: root, domain, now: clock.now });
    const source = await AcmeSource.open({
      ...{ domain, isWildcard, ...clock, isKnownName: (name) => known.has(name) },
      store: new CertificateStore(directory),
      record: await OrderRecord.open({ directory, ...clock }),
      orders: {
        async order(names) {
          ordered.push(names.join(" "));
          if (refusal !== null) throw new Error(refusal);
          return await authority.issue(names);
        },
      },
      onProblem: (name, problem) => problems.push(`${name}: ${problem?.message ?? "fine"}`),
    });
    source.start();
    sources.push(source);
    return source;
  };
  const ordersAre = async (count: number): Promise<void> => {
    assert.ok(await waitUntil(() => ordered.length === count, { timeoutMs: 30_000 }));
  };

  test("a wildcard is renewed at two thirds of its life, while the old one is served", async () => {
    const source = await open(true);
    const first = await source.contextFor(`box-b7k2.${domain}`);
    assert.ok(first !== null);
    assert.deepEqual(ordered, [`${domain} *.${domain}`]);
    nowMs += (leafLifetimeMs * 2) / 3 - 2 * dayMs;
    source.renewDue();
    nowMs += 2 * dayMs;
    refusal = "the service is away";
    source.renewDue();
    await ordersAre(2);
    assert.ok(await waitUntil(() => source.problems.length > 0, { timeoutMs: 30_000 }));
    assert.equal(await source.contextFor(domain), first, "the last good one");
    assert.deepEqual(source.problems, [`no certificate for ${domain}: the service is away`]);
    // Hourly looks do not hammer: the next try is after the delay, and after twice as long then.
    source.renewDue();
    nowMs += retryDelayMs;
    source.renewDue();
    await ordersAre(3);
    nowMs += retryDelayMs;
    source.renewDue();
    refusal = null;
    nowMs += retryDelayMs;
    source.renewDue();
    await ordersAre(4);
    assert.ok(await waitUntil(() => source.problems.length === 0, { timeoutMs: 30_000 }));
    const renewed = await source.contextFor(domain);
    assert.ok(renewed !== null && renewed !== first);
    assert.equal(problems.at(-1), `${domain}: fine`);
  });

  test("a restart neither orders what it has nor forgets that it failed", async () => {
    const source = await open(true);
    assert.ok((await source.contextFor(domain)) !== null);
    source.stop();
    const again = await open(true);
    assert.ok((await again.contextFor(domain)) !== null);
    assert.equal(ordered.length, 1);
    again.stop();
    rmSync(directory, { recursive: true });
    refusal = "no";
    for (let start = 0; start < 5; start++) {
      const failing = await open(true);
      assert.equal(await failing.contextFor(domain), null);
      failing.stop();
    }
    assert.equal(ordered.length, 2, "five starts in a row ask once");
  });

  test("names that nobody has are not ordered, nor renewed", async () => {
    const name = `box-b7k2.${domain}`;
    const source = await open(false);
    for (const other of [name, "example.com", `a.b.${domain}`, `..${domain}`, `*.${domain}`]) {
      assert.equal(await source.contextFor(other), null, other);
    }
    known.add(name);
    assert.ok((await source.contextFor(name)) !== null);
    assert.deepEqual(ordered.toSorted(), [`api.${domain}`, name, domain].toSorted());
    known.delete(name);
    nowMs += leafLifetimeMs;
    source.renewDue();
    await ordersAre(5);
    assert.equal(ordered.filter((one) => one === name).length, 1);
    assert.ok(await waitUntil(() => !readdirSync(directory).join().includes("box"), waits));
  });
  const waits = { timeoutMs: 30_000 };

  test("a week has only so many new names", async () => {
    const source = await open(false);
    for (let i = 0; i < ordersMax + 5; i++) {
      known.add(`box${i}-b7k2.${domain}`);
      await source.contextFor(`box${i}-b7k2.${domain}`);
    }
    assert.equal(ordered.length, ordersMax);
    assert.match(source.problems.join("\n"), /the next try is at \d{4}-/);
    nowMs += ordersWindowMs + 1;
    assert.ok((await source.contextFor(`box${ordersMax + 1}-b7k2.${domain}`)) !== null);
  });

  test("a file that is damaged is as none", async () => {
    writeFileSync(join(directory, `${domain}.certificate.pem`), "-----BEGIN CERTIFICATE-----\n");
    writeFileSync(join(directory, "orders.json"), "{");
    const source = await open(true);
    assert.ok((await source.contextFor(domain)) !== null);
  });
});
