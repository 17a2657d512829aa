/** What is known of a volume's checkpoints, by the comment that each was given. */
import { must } from "../../../../base/assert.ts";
import type { CheckpointRecord } from "../../volume.ts";
import type { Scheduler } from "./scheduler.ts";
import type { DiskState } from "./guest-model.ts";

type Status = "perhaps" | "sure" | "gone";

interface Known {
  content: DiskState;
  status: Status;
  /** Of the state before a restore, which is kept for a day. */
  isPreRestore: boolean;
}

export class Checkpoints {
  readonly #known = new Map<string, Known>();

  copy(): Checkpoints {
    const copy = new Checkpoints();
    for (const [comment, { content, isPreRestore }] of this.#known) {
      copy.#known.set(comment, { content, status: "perhaps", isPreRestore });
    }
    return copy;
  }

  /** One that the bucket has. */
  anySure(scheduler: Scheduler): { comment: string; content: DiskState } | null {
    const sure = [...this.#known].filter(([, { status }]) => status === "sure");
    if (sure.length === 0) return null;
    const [comment, { content }] = scheduler.choose(sure);
    return { comment, content };
  }

  contentOf(comment: string): DiskState {
    return must(this.#known.get(comment), "the checkpoint is known").content;
  }

  begin(comment: string, content: DiskState, { isPreRestore }: { isPreRestore: boolean }): void {
    this.#known.set(comment, { content, status: "perhaps", isPreRestore });
  }

  confirm(comment: string): void {
    const known = must(this.#known.get(comment), "the checkpoint is known");
    if (known.status === "perhaps") known.status = "sure";
  }

  beginDelete(comment: string): Status {
    const known = must(this.#known.get(comment), "the checkpoint is known");
    const before = known.status;
    known.status = "perhaps";
    return before;
  }

  keep(comment: string, status: Status): void {
    must(this.#known.get(comment), "the checkpoint is known").status = status;
  }

  gone(comment: string): void {
    must(this.#known.get(comment), "the checkpoint is known").status = "gone";
  }

  /** Compares with what is there after the volume was opened. */
  onOpened(
    records: readonly CheckpointRecord[],
    options: {
      isCold: boolean;
      /** By the machines' clocks a day may have passed. */
      isLongAfter: boolean;
      fail: (problem: string) => void;
    },
  ): void {
    const { isCold, isLongAfter, fail } = options;
    const listed = new Set(records.map(({ comment }) => comment));
    for (const comment of listed) {
      const known = this.#known.get(comment);
      if (known === undefined) fail(`checkpoint ${comment} was never made`);
      else if (known.status === "gone") fail(`checkpoint ${comment} was deleted, and is back`);
      else if (isCold) known.status = "sure";
    }
    for (const [comment, known] of this.#known) {
      if (listed.has(comment)) continue;
      if (isLongAfter && known.isPreRestore) known.status = "gone";
      if (known.status === "sure") fail(`checkpoint ${comment} is lost`);
      // What the bucket does not have is no more; here it may still come.
      if (isCold) known.status = "gone";
    }
  }
}
