import type { Readable } from "node:stream";

/**
 * Calls back with each line of a stream that parses as JSON; `onOther` gets the rest. A line over
 * the limit is cut there.
 */
export function readJsonLines(
  stream: Readable,
  options: {
    lineBytesMax: number;
    onValue: (value: unknown) => void;
    onOther: (line: string) => void;
  },
): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    rest += text;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      deliver(rest.slice(0, end));
      rest = rest.slice(end + 1);
    }
    if (rest.length > options.lineBytesMax) {
      deliver(rest.slice(0, options.lineBytesMax));
      rest = "";
    }
  });
  stream.on("end", () => {
    if (rest !== "") deliver(rest);
    rest = "";
  });

  function deliver(line: string): void {
    if (line.trim() === "") return;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      options.onOther(line);
      return;
    }
    options.onValue(value);
  }
}
