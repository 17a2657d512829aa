/** Tools that hand the agent's answer on as it is: its JSON, or NDJSON of what happened. */

import { z } from "zod";

import { currentCheckpointId } from "../../contract/checkpoint.ts";
import { serviceFields } from "../../contract/endpoints/services.ts";
import { errorResponse, SpriteError } from "../../contract/errors.ts";
import { checkpointCommentLengthMax } from "../../contract/limits.ts";
import { parseSignal } from "../../contract/signals.ts";
import { answerAsleep } from "../asleep.ts";
import { askAgent, type AgentRequest } from "./ask-agent.ts";
import { BoundedText } from "./bounded-text.ts";
import { checkpointIdSchema, durationSchema, spriteFields } from "./inputs.ts";
import { toolTextSizeBytesMax } from "./limits.ts";
import {
  errorResult,
  jsonResult,
  pinnedSprite,
  textResult,
  tool,
  type SpriteInput,
  type Tool,
  type ToolContext,
  type ToolResult,
} from "./tool.ts";

const { name: serviceNameSchema, ...definitionFields } = serviceFields;
const oneService = {
  ...spriteFields,
  service_name: serviceNameSchema.describe("the service's name"),
};
const watchField = {
  duration: durationSchema.optional().describe("how long to tell what happens; 5s when absent"),
};
const sessionIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "expected a session's id, as exec_list has it");

const execTools: readonly Tool[] = [
  tool({
    name: "exec_list",
    title: "List commands",
    description: "Lists the commands that run in a sprite. Does not wake it.",
    input: z.strictObject(spriteFields),
    isReadOnly: true,
    async run(context, input) {
      const sprite = pinnedSprite(context, input);
      const route = { kind: "agent", name: sprite.name, rest: ["exec"] } as const;
      const asleep = answerAsleep("GET", route, () => context.sprites.isCold(sprite));
      if (asleep?.body) return jsonResult(asleep.body);
      return await ask(context, input, { method: "GET", segments: ["exec"] });
    },
  }),
  tool({
    name: "exec_kill",
    title: "End a command",
    description: "Sends a signal to a running command, and SIGKILL if it has not ended in time.",
    input: z.strictObject({
      ...spriteFields,
      session_id: sessionIdSchema.describe("of exec_list"),
      signal: z
        .string()
        .refine((text) => parseSignal(text) !== null, "unknown signal")
        .optional()
        .describe("such as TERM, the default, or INT"),
      timeout: durationSchema.optional().describe("before SIGKILL; 0s does not wait"),
    }),
    isReadOnly: false,
    run: (context, { session_id, signal, timeout, ...input }) =>
      ask(context, input, {
        method: "POST",
        segments: ["exec", session_id, "kill"],
        query: queryOf({ signal, timeout }),
      }),
  }),
];

const serviceTools: readonly Tool[] = [
  tool({
    name: "service_list",
    title: "List services",
    description: "Lists the programs that a sprite keeps running, with their states.",
    input: z.strictObject(spriteFields),
    isReadOnly: true,
    run: (context, input) => ask(context, input, { method: "GET", segments: ["services"] }),
  }),
  tool({
    name: "service_get",
    title: "Look at a service",
    description: "A service's definition and state.",
    input: z.strictObject(oneService),
    isReadOnly: true,
    run: (context, { service_name, ...input }) =>
      ask(context, input, { method: "GET", segments: ["services", service_name] }),
  }),
  tool({
    name: "service_logs",
    title: "Read a service's log",
    description:
      "The last lines that a service wrote, and what it writes from now on if asked to wait.",
    input: z.strictObject({
      ...oneService,
      lines: z.int().min(0).max(100_000).optional().describe("how many of the last ones"),
      duration: durationSchema.optional().describe("how long to follow; not at all when absent"),
    }),
    isReadOnly: true,
    run: (context, { service_name, lines, duration, ...input }) =>
      ask(context, input, {
        method: "GET",
        segments: ["services", service_name, "logs"],
        query: queryOf({ lines: lines?.toString(), duration }),
      }),
  }),
  tool({
    name: "service_create",
    title: "Create a service",
    description:
      "Makes a program that the sprite keeps running, or replaces it, and starts it. It starts again with the sprite.",
    input: z.strictObject({
      ...oneService,
      ...definitionFields,
      args: definitionFields.args.optional(),
      env: definitionFields.env.optional(),
      dir: definitionFields.dir.optional(),
      needs: definitionFields.needs.optional(),
      http_port: definitionFields.http_port
        .optional()
        .describe("the port of the sprite's URL; at most one service has one"),
      ...watchField,
    }),
    isReadOnly: false,
    run: (context, { sprite, sprite_id, service_name, duration, ...definition }) =>
      ask(
        context,
        { sprite, sprite_id },
        {
          method: "PUT",
          segments: ["services", service_name],
          query: queryOf({ duration }),
          body: jsonBody(definition),
        },
      ),
  }),
  tool({
    name: "service_start",
    title: "Start a service",
    description: "Starts a service that was stopped.",
    input: z.strictObject({ ...oneService, ...watchField }),
    isReadOnly: false,
    run: (context, { service_name, duration, ...input }) =>
      ask(context, input, {
        method: "POST",
        segments: ["services", service_name, "start"],
        query: queryOf({ duration }),
      }),
  }),
  tool({
    name: "service_stop",
    title: "Stop a service",
    description: "Stops a service, which stays stopped until it is started.",
    input: z.strictObject({
      ...oneService,
      timeout: durationSchema.optional().describe("from SIGTERM to SIGKILL; 10s when absent"),
    }),
    isReadOnly: false,
    run: (context, { service_name, timeout, ...input }) =>
      ask(context, input, {
        method: "POST",
        segments: ["services", service_name, "stop"],
        query: queryOf({ timeout }),
      }),
  }),
];

const checkpointTools: readonly Tool[] = [
  tool({
    name: "checkpoint_list",
    title: "List checkpoints",
    description: "Lists the saved states of a sprite's disk, the newest first.",
    input: z.strictObject(spriteFields),
    isReadOnly: true,
    run: (context, input) => ask(context, input, { method: "GET", segments: ["checkpoints"] }),
  }),
  tool({
    name: "checkpoint_get",
    title: "Look at a checkpoint",
    description: "One saved state of a sprite's disk.",
    input: z.strictObject({
      ...spriteFields,
      id: z
        .union([checkpointIdSchema, z.literal(currentCheckpointId)])
        .describe(`such as v1; ${currentCheckpointId} is the live state`),
    }),
    isReadOnly: true,
    run: (context, { id, ...input }) =>
      ask(context, input, { method: "GET", segments: ["checkpoints", id] }),
  }),
  tool({
    name: "checkpoint_create",
    title: "Save the disk",
    description:
      "Saves the state of a sprite's disk while it runs. The last line names the checkpoint.",
    input: z.strictObject({
      ...spriteFields,
      comment: z.string().max(checkpointCommentLengthMax).optional(),
    }),
    isReadOnly: false,
    run: (context, { comment, ...input }) =>
      ask(context, input, {
        method: "POST",
        segments: ["checkpoint"],
        body: jsonBody(comment === undefined ? {} : { comment }),
      }),
  }),
  tool({
    name: "checkpoint_restore",
    title: "Go back to a checkpoint",
    description:
      "Sets a sprite's disk back to a saved state. All its programs end; the state before is kept as a checkpoint.",
    input: z.strictObject({ ...spriteFields, id: checkpointIdSchema }),
    isReadOnly: false,
    run: (context, { id, ...input }) =>
      ask(context, input, { method: "POST", segments: ["checkpoints", id, "restore"] }),
  }),
];

export const agentTools: readonly Tool[] = [...execTools, ...serviceTools, ...checkpointTools];

/** What an agent refuses, or what its last line says has failed, is the tool's error. @throws SpriteError */
async function ask(
  context: ToolContext,
  input: SpriteInput,
  request: AgentRequest,
): Promise<ToolResult> {
  pinnedSprite(context, input);
  const sprite = context.sprites.findReady(context.organization, input.sprite);
  const text = new BoundedText(toolTextSizeBytesMax);
  let status = 0;
  try {
    await askAgent(context, sprite, request, {
      onHead: (head) => (status = head.status),
      onBody: (bytes) => text.push(bytes),
    });
  } catch (error) {
    // What has happened so far is worth telling; what it led to is unknown.
    if (!(error instanceof SpriteError) || text.sizeBytes === 0) throw error;
    const { body } = errorResponse(error);
    return errorResult(textResult(`${text.toString()}\n${JSON.stringify(body)}`));
  }
  const told = text.toString();
  const result = textResult(told);
  return status < 400 && !endsInError(told) ? result : errorResult(result);
}

/** Streams have status 200, and say in their last line, or before a last `complete`, that they failed. */
function endsInError(text: string): boolean {
  const lastLines = text.trimEnd().split("\n").slice(-2);
  return lastLines.some((line) => line.startsWith('{"type":"error",'));
}

function jsonBody(value: object): { type: string; bytes: Buffer } {
  return { type: "application/json", bytes: Buffer.from(JSON.stringify(value)) };
}

function queryOf(values: Readonly<Record<string, string | undefined>>): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) query.set(name, value);
  }
  return query;
}
