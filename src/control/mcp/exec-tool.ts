/** `exec`: a command by HTTP exec (contract.md section 3.8), whose frames become two texts and an exit code. */

import { z } from "zod";

import { errorResponse, SpriteError } from "../../contract/errors.ts";
import { environmentEntriesMax, environmentKeyLengthMax } from "../../contract/limits.ts";
import { askAgent, type AgentRequest } from "./ask-agent.ts";
import { BoundedText } from "./bounded-text.ts";
import { spriteFields } from "./inputs.ts";
import { requestTimeoutMs, toolTextSizeBytesMax } from "./limits.ts";
import {
  errorResult,
  pinnedSprite,
  structuredResult,
  textResult,
  tool,
  type ToolContext,
  type ToolResult,
} from "./tool.ts";

const stdoutFrame = 1;
const stderrFrame = 2;
const exitFrame = 3;

const inputSchema = z.strictObject({
  ...spriteFields,
  cmd: z
    .array(z.string())
    .min(1)
    .describe('a program and its arguments; for a shell ["bash", "-lc", "..."]'),
  dir: z.string().optional().describe("the home directory when absent"),
  env: z
    .record(
      z
        .string()
        .regex(/^[^=\0]+$/)
        .max(environmentKeyLengthMax),
      z.string(),
    )
    .refine((env) => Object.keys(env).length <= environmentEntriesMax, "too many variables")
    .optional()
    .describe("besides the sprite's own variables"),
  stdin: z.string().optional().describe("what the command reads; nothing when absent"),
});

export const execTool = tool({
  name: "exec",
  title: "Run a command",
  description:
    "Runs a command in a sprite and waits until it ends; wakes the sprite. Long outputs are told by their beginning and their " +
    `end. A command that takes longer than ${requestTimeoutMs / 1000} s is ended: run it as a service, or in the background.`,
  input: inputSchema,
  isReadOnly: false,
  run: runCommand,
});

async function runCommand(
  context: ToolContext,
  input: z.output<typeof inputSchema>,
): Promise<ToolResult> {
  pinnedSprite(context, input);
  const sprite = context.sprites.findReady(context.organization, input.sprite);
  const output = new ExecOutput();
  try {
    await askAgent(context, sprite, execRequest(input), {
      onHead: ({ status }) => (output.isRefused = status >= 400),
      onBody: (bytes) => output.push(bytes),
    });
  } catch (error) {
    if (!(error instanceof SpriteError) || output.isEmpty) throw error;
    return errorResult(structuredResult({ ...errorResponse(error).body, ...output.texts() }));
  }
  return output.result();
}

function execRequest(input: z.output<typeof inputSchema>): AgentRequest {
  const { cmd, dir, env, stdin } = input;
  const query = new URLSearchParams(cmd.map((word): [string, string] => ["cmd", word]));
  if (dir !== undefined) query.set("dir", dir);
  for (const [key, value] of Object.entries(env ?? {})) query.append("env", `${key}=${value}`);
  const request = { method: "POST", segments: ["exec"], query } as const;
  if (stdin === undefined) return request;
  query.set("stdin", "true");
  return { ...request, body: { type: "application/octet-stream", bytes: Buffer.from(stdin) } };
}

class ExecOutput {
  /** The body is an error of the API and no frames. */
  isRefused = false;
  readonly #stdout = new BoundedText(toolTextSizeBytesMax);
  readonly #stderr = new BoundedText(toolTextSizeBytesMax);
  #exitCode: number | null = null;

  push(bytes: Buffer): void {
    if (this.isRefused) return this.#stdout.push(bytes);
    const payload = bytes.subarray(1);
    if (bytes[0] === stdoutFrame) this.#stdout.push(payload);
    else if (bytes[0] === stderrFrame) this.#stderr.push(payload);
    else if (bytes[0] === exitFrame) this.#exitCode = payload[0] ?? null;
  }

  get isEmpty(): boolean {
    return this.#stdout.sizeBytes + this.#stderr.sizeBytes === 0;
  }

  texts(): { stdout: string; stderr: string } {
    return { stdout: this.#stdout.toString(), stderr: this.#stderr.toString() };
  }

  /** A command that failed is no error of the tool; one of which nobody knows how it ended is. */
  result(): ToolResult {
    if (this.isRefused) return errorResult(textResult(this.#stdout.toString()));
    const result = { exit_code: this.#exitCode, ...this.texts() };
    if (this.#exitCode !== null) return structuredResult(result);
    const error = new SpriteError("unavailable", "nobody knows how the command ended");
    return errorResult(structuredResult({ ...errorResponse(error).body, ...result }));
  }
}
