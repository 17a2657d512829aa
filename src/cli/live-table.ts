import type { OutputPipe } from "./output-pipe.ts";
import { formatTableWithin, shorten } from "./text.ts";

/** A table at the terminal that is drawn over itself; what does not fit the window is counted. */
export class LiveTable {
  readonly #out: OutputPipe;
  #drawnLines = 0;

  constructor(out: OutputPipe) {
    this.#out = out;
  }

  draw(content: {
    header: readonly string[];
    rows: readonly (readonly string[])[];
    footer: string;
    /** Columns that a narrow window goes without, the least needed first. */
    dropOrder: readonly string[];
  }): void {
    const { header, rows, footer, dropOrder } = content;
    const windowRows = process.stdout.rows || 24;
    const columns = process.stdout.columns || 80;
    // Header, footer, and the line that the cursor stands in.
    const shownMax = Math.max(1, windowRows - 3);
    const shown = rows.length > shownMax ? rows.slice(0, shownMax - 1) : rows;
    const hidden = rows.length - shown.length;
    const more = hidden > 0 ? `... and ${hidden} more; ` : "";
    // A line that wraps would be counted as one and drawn as two.
    const widthMax = columns - 1;
    const table = formatTableWithin({ header, rows: shown }, { columns: widthMax, dropOrder });
    const lines = `${table}${shorten(`${more}${footer}`, widthMax)}\n`.split("\n");
    const back = this.#drawnLines > 0 ? `\u001b[${this.#drawnLines}A` : "";
    this.#out.write(`${back}\r\u001b[J${lines.join("\n")}`);
    this.#drawnLines = lines.length - 1;
  }
}
