import { BlockMap } from "../block-map.ts";
import type { UnitChange } from "../types.ts";

/** A process of its own for block-map-crash.fs.test.ts: commits cuts until it is killed, and tells each. */

const map = BlockMap.open(process.argv[2] ?? "");
const unitCount = map.sizeBytes / 65_536;
for (let turn = 0; ; turn++) {
  const cut = map.lastCut + 1;
  const segment = map.allocateSegment();
  const changes = new Map<number, UnitChange>();
  for (let index = 0; index < 40; index++) {
    const unit = (cut * 37 + index * 101) % unitCount;
    const offsetBlocks = 1 + index * 16;
    const slice = { segment, offsetBlocks, stored: 0xffff, check: cut };
    changes.set(unit, { blocks: 0xffff, slice });
  }
  const checkpoint = { comment: String(cut), isAuto: false, createTimeMs: cut };
  const segments = [{ id: segment, sizeBytes: 4_096 }];
  map.commitCut({ cut, changes, segments, ...(turn % 5 === 0 && { checkpoint }) });
  const [oldest] = map.listCheckpoints().slice(4);
  if (oldest) map.deleteCheckpoint(oldest.id);
  if (turn % 7 === 0)
    map.restore(map.listCheckpoints()[1]?.id ?? map.listCheckpoints()[0]?.id ?? "");
  process.stdout.write(`${cut} ${segment}\n`);
}
