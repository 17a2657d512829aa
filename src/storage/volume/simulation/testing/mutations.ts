/**
 * Deliberate bugs, each of which the simulation has to find: the proof that its worlds can go wrong and that it
 * looks in the right places. Who changes a text here in the code changes it in this table too.
 */
import type { Focus } from "./actions.ts";
import type { Change } from "./stand-in-hooks.ts";

export interface Mutation {
  /** What is wrong then. */
  bug: string;
  /** Worlds that look there, so that it takes fewer of them; any world when missing. */
  focus?: Focus;
  changes: readonly Change[];
}

export const mutations: readonly Mutation[] = [
  {
    bug: "a transaction is stored before the segments that it names",
    changes: [
      {
        file: "volume/publisher.ts",
        original: "    await this.#upload(waiting, signal);\n",
        replaced: "    this.#upload(waiting, signal).catch(() => undefined);\n",
      },
    ],
  },
  {
    bug: "another's transaction is taken for one of ours",
    changes: [
      {
        file: "litestream/chain-writer.ts",
        original: "if (readHeader(found).nodeId !== writer) {",
        replaced: "if (readHeader(found).nodeId !== writer && txid < 0) {",
      },
    ],
  },
  {
    bug: "who takes a volume over does not fence the former holder",
    changes: [
      {
        file: "volume/bucket-state.ts",
        original: "if (!wasClean) await fence(chain, source);",
        replaced: "",
      },
    ],
  },
  {
    bug: "local state is believed although another machine has had the volume since",
    changes: [
      {
        file: "volume/open-state.ts",
        original: "if (previous.formatVersion !== 2 || !isOurs(state, previous)) {",
        replaced: "if (previous.formatVersion !== 2) {",
      },
    ],
  },
  {
    bug: "a flush does not wait for the cache's disk",
    focus: "power",
    changes: [
      {
        file: "chunk-cache/local-cache.ts",
        original: "sync.markFlushed(point);\n      await syncData(this.#files.blocks);\n",
        replaced: "sync.markFlushed(point);\n",
      },
    ],
  },
  {
    bug: "a new cache file's name is not synced",
    focus: "power",
    changes: [
      {
        file: "chunk-cache/cache-files.ts",
        original: "after a power failure.\n  syncDirectoryNow(directory);\n",
        replaced: "\n",
      },
    ],
  },
  {
    bug: "cached units are believed whatever their check says",
    focus: "damage",
    changes: [
      {
        file: "chunk-cache/unit-checks.ts",
        original: "  if (matchesCheck(state, files, unit, buffer)) return true;\n",
        replaced: "  if (matchesCheck.length > 0) return true;\n",
      },
    ],
  },
  {
    bug: "a staged segment is not synced before the map names it",
    focus: "power",
    changes: [
      { file: "volume/staging.ts", original: "      await file.datasync();\n", replaced: "" },
    ],
  },
  {
    bug: "a unit that is overwritten while its cut runs is not copied aside",
    focus: "cuts",
    changes: [
      {
        file: "chunk-cache/block-cache.ts",
        original: "    if (!this.#needsPreserving(unit)) return;\n",
        replaced: "    return;\n",
      },
    ],
  },
  {
    bug: "a unit's older slices cover its newer ones",
    changes: [
      {
        file: "block-map/layout.ts",
        original: "const live = old.live & ~blocks;",
        replaced: "const { live } = old;",
      },
      {
        file: "volume/segment-reader.ts",
        original: "for (const slice of layout) {",
        replaced: "for (const slice of layout.toReversed()) {",
      },
    ],
  },
  {
    bug: "a restore leaves the cache as it was",
    changes: [
      {
        file: "volume/engine.ts",
        original: "invalidateUnits(cache, units, {",
        replaced: "invalidateUnits(cache, units.subarray(units.length), {",
      },
    ],
  },
  {
    bug: "a durable flush does not wait for the bucket",
    focus: "durable",
    changes: [
      {
        file: "volume/engine.ts",
        original: "&& !this.#isRelaxed) await this.sync();",
        replaced: "&& !this.#isRelaxed) this.sync().catch(() => undefined);",
      },
    ],
  },
  {
    bug: "one cut more than was stored is said to be",
    changes: [
      {
        file: "volume/publisher.ts",
        original: "    this.#syncedCut = cut;\n",
        replaced: "    this.#syncedCut = cut + 1;\n",
      },
    ],
  },
  {
    bug: "garbage goes at once",
    changes: [
      {
        file: "volume/bucket-side.ts",
        original: "graceMs: retentionMs, nowMs }",
        replaced: "graceMs: 0, nowMs }",
      },
    ],
  },
  {
    bug: "garbage goes although forks need it",
    focus: "forks",
    changes: [
      {
        file: "volume/garbage.ts",
        original: "    if (pinned.size === Infinity) return 0;\n    let due = first;\n",
        replaced: "    let due = first;\n    pinned.has = () => false;\n",
      },
    ],
  },
  {
    bug: "a destroyed volume's segments go although forks need them",
    focus: "forks",
    changes: [
      {
        file: "volume/destroy.ts",
        original: "if (pinned.size === 0 && !(await hasForks(options))) {",
        replaced: "if (pinned.size >= 0) {",
      },
    ],
  },
  {
    bug: "a crash's leavings are looked for only once",
    changes: [
      {
        file: "volume/bucket-side.ts",
        original: "nowMs < this.#lastSweepFromMs ? this.#lastSweepFromMs : againAtMs",
        replaced: "Infinity",
      },
    ],
  },
  {
    bug: "who was taken over while nobody asked the bucket goes on writing there",
    focus: "late",
    changes: [
      {
        file: "volume/late-claim.ts",
        original: "if (!isOurs(record.state, head)) throw new FencedError();",
        replaced: "",
      },
      {
        file: "volume/late-claim.ts",
        original: "if (isAhead && !(await continues(options, { record, lastCut }, chain))) throw",
        replaced: "if (isAhead && lastCut < 0) throw",
      },
    ],
  },
  {
    bug: "flushes stay relaxed when programs run again",
    focus: "durable",
    changes: [
      {
        file: "volume/engine.ts",
        original: "    this.#isRelaxed = isRelaxed;\n",
        replaced: "    this.#isRelaxed ||= isRelaxed;\n",
      },
    ],
  },
  {
    bug: "a cut that a full disk stopped forgets what it was to store",
    focus: "full",
    changes: [
      {
        file: "volume/cutter.ts",
        original: "      abortCut(local.cache, begun.units);\n",
        replaced: "      finishCut(local.cache, begun.cut, begun.units, () => true);\n",
      },
    ],
  },
  {
    bug: "what a full disk could not keep is believed to be kept",
    focus: "full",
    changes: [
      {
        file: "volume/local-state.ts",
        original: "    const changed = { ...change, writers: writers.slice(-writersMax) };\n",
        replaced: `    const changed = { ...change, writers: writers.slice(-writersMax) };
    this.#state = { ...this.#state, ...changed };\n`,
      },
    ],
  },
  {
    bug: "what looks young to a clock that was set back is never looked at again",
    focus: "clocks",
    changes: [
      {
        file: "volume/bucket-side.ts",
        original: "isDone ? Infinity : nowMs +",
        replaced: "isDone || nowMs >= 0 ? Infinity : nowMs +",
      },
    ],
  },
  {
    bug: "a collection deletes what is young",
    focus: "audits",
    changes: [
      {
        file: "audit/objects.ts",
        original: 'return isOld(object, facts) ? "leaked" : "pending";\n}',
        replaced: 'return isOld(object, facts) || facts.nowMs > 0 ? "leaked" : "pending";\n}',
      },
    ],
  },
  {
    bug: "a scrub does not look at content",
    focus: "audits",
    changes: [
      {
        file: "audit/scrub-volume.ts",
        original: "if (!attempt(() => verifySlice(slice, stored, key))) damaged.push(slice);",
        replaced: "if (stored.length < 0) damaged.push(slice);",
      },
    ],
  },
  {
    bug: "a body that ended early is taken for a whole one",
    changes: [
      {
        file: "object-store/testing/memory-object-store.ts",
        original:
          'if (isLost(fault) || fault?.kind === "truncated") throw refusal("get", key, fault);',
        replaced: 'if (isLost(fault)) throw refusal("get", key, fault);',
      },
      {
        file: "object-store/testing/memory-object-store.ts",
        original: "const bytes = object.bytes.slice(range.from, range.to);",
        replaced: `const whole = object.bytes.slice(range.from, range.to);
    const bytes = fault?.kind === "truncated" ? whole.slice(0, whole.length / 2) : whole;`,
      },
      {
        file: "block-map/segment.ts",
        original: "if (bytes.length !== lengthBytes) {",
        replaced: "if (bytes.length > lengthBytes) {",
      },
      {
        file: "block-map/segment.ts",
        original: "if (crc32(bytes) !== slice.check) {",
        replaced: "if (bytes.length > lengthBytes) {",
      },
    ],
  },
];
