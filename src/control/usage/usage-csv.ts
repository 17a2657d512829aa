import type { UsageObject, UsageRow } from "../../contract/usage.ts";

const amountColumns = [
  ...["running_seconds", "warm_seconds", "cpu_seconds"],
  ...["memory_byte_seconds", "warm_memory_byte_seconds", "storage_byte_seconds", "egress_bytes"],
  ...["bucket_write_requests", "bucket_read_requests", "bucket_delete_requests"],
  ...["bucket_written_bytes", "bucket_read_bytes"],
] as (keyof UsageRow)[];

const keyColumns: Readonly<Record<UsageObject["by"], readonly (keyof UsageRow)[]>> = {
  sprite: ["sprite", "sprite_id"],
  label: ["label"],
  day: ["start", "end"],
  hour: ["start", "end"],
};

/** RFC 4180, with a line of names. A page of rows; without the total, which whoever reads it can add up. */
export function usageCsv({ by, usage }: UsageObject): string {
  const columns = [...keyColumns[by], ...amountColumns];
  const lines = usage.map((row) => columns.map((column) => cell(row[column])).join(","));
  return [columns.join(","), ...lines, ""].join("\r\n");
}

/** A spreadsheet takes a text for a formula that begins like one, and anybody may choose a label. */
function cell(value: string | number | null | undefined): string {
  if (typeof value === "number") return String(value);
  const text = value ?? "";
  const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n']/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
