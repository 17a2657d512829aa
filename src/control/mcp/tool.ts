/** What a tool is: a name, what it takes, and what it does with the same code as the HTTP API. */

import type { z } from "zod";

import { SpriteError } from "../../contract/errors.ts";
import type { Organization } from "../organization.ts";
import type { SpriteRecord } from "../sprite-record.ts";
import type { AgentParts } from "./ask-agent.ts";

export interface ToolContext extends AgentParts {
  organization: Organization;
}

/** As the protocol has it. */
export interface ToolResult {
  content: Array<{ type: "text"; text: string }>;
  structuredContent?: object;
  isError?: true;
}

export interface Tool {
  name: string;
  title: string;
  description: string;
  input: z.ZodType<unknown>;
  /** False: it may destroy something. */
  isReadOnly: boolean;
  /** Further fields of the tool's description. */
  meta?: object;
  /** @throws SpriteError, which the caller is told as the tool's result */
  run(context: ToolContext, input: unknown): Promise<ToolResult>;
}

export interface ToolOptions<Schema extends z.ZodType> {
  name: string;
  title: string;
  description: string;
  input: Schema;
  isReadOnly: boolean;
  meta?: object;
  run(context: ToolContext, input: z.output<Schema>): Promise<ToolResult>;
}

/** `run` gets what its schema lets through. */
export function tool<Schema extends z.ZodType>(options: ToolOptions<Schema>): Tool {
  const { run, input, ...rest } = options;
  // The caller has validated with this very schema.
  return { ...rest, input, run: (context, value) => run(context, value as z.output<Schema>) };
}

export function textResult(text: string): ToolResult {
  return { content: [{ type: "text", text }] };
}

export function jsonResult(value: object): ToolResult {
  return textResult(JSON.stringify(value));
}

export function structuredResult(value: object): ToolResult {
  return { ...jsonResult(value), structuredContent: value };
}

export function errorResult(result: ToolResult): ToolResult {
  return { ...result, isError: true };
}

export interface SpriteInput {
  sprite: string;
  sprite_id?: string | undefined;
}

/** @throws SpriteError not_found, conflict (the name is another sprite's by now) */
export function pinnedSprite(context: ToolContext, input: SpriteInput): SpriteRecord {
  const { sprite: name, sprite_id: id } = input;
  const sprite = context.sprites.find(context.organization, name);
  if (id === undefined || id === sprite.id) return sprite;
  const message = `sprite_id: the sprite ${name} is another one; its id is ${sprite.id}`;
  throw new SpriteError("conflict", message);
}
