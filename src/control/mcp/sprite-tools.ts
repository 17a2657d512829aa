/** Tools about the sprites of an organization and their network policies: nothing here wakes one. */

import { z } from "zod";

import { spriteNameSchema } from "../../contract/names.ts";
import {
  parseSpriteListQuery,
  spriteCreateSchema,
  type SpriteListObject,
} from "../../contract/sprite.ts";
import { validate } from "../../contract/validate.ts";
import { handlePolicy } from "../policies.ts";
import { listFields, spriteFields } from "./inputs.ts";
import { inspectorUri, spriteUri } from "./resources.ts";
import {
  jsonResult,
  pinnedSprite,
  structuredResult,
  tool,
  type SpriteInput,
  type Tool,
  type ToolContext,
  type ToolResult,
} from "./tool.ts";

const listSchema = z.strictObject(listFields);
const nameSchema = z.strictObject({ name: spriteNameSchema.describe("the sprite's name") });
const policySchema = z.strictObject({
  ...spriteFields,
  rules: z
    .array(
      z.strictObject({
        domain: z.string().optional().describe("a name, *.name, or * for all"),
        action: z.enum(["allow", "deny"]).optional(),
        include: z
          .string()
          .optional()
          .describe("`defaults` instead of a domain: package registries, git hosts, AI APIs"),
      }),
    )
    .describe("all rules, which take the place of those of before; none: unrestricted"),
});

export const spriteTools: readonly Tool[] = [
  tool({
    name: "list_sprites",
    title: "List sprites",
    description: "Lists the organization's sprites, a page at a time, by name.",
    input: listSchema,
    isReadOnly: true,
    run: async (context, input) => jsonResult(listSprites(context, input)),
  }),
  tool({
    name: "create_sprite",
    title: "Create a sprite",
    description: "Makes a sprite, a durable Linux computer, and starts it.",
    input: nameSchema,
    isReadOnly: false,
    async run({ sprites, organization, signal }, { name }) {
      const body = validate(spriteCreateSchema, { name });
      return jsonResult(await sprites.create(organization, body, signal));
    },
  }),
  tool({
    name: "destroy_sprite",
    title: "Destroy a sprite",
    description: "Deletes a sprite with its disk and its checkpoints, for ever.",
    input: nameSchema,
    isReadOnly: false,
    async run({ sprites, organization }, { name }) {
      await sprites.destroy(organization, name);
      return jsonResult({ name, destroyed: true });
    },
  }),
  tool({
    name: "get_sprite_info",
    title: "Look at a sprite",
    description: "A sprite's status, URL and settings. Does not wake it.",
    input: z.strictObject(spriteFields),
    isReadOnly: true,
    async run(context, input) {
      pinnedSprite(context, input);
      return jsonResult(context.sprites.get(context.organization, input.sprite));
    },
  }),
  tool({
    name: "open_sprite_inspector",
    title: "Show sprites",
    description: "Shows the organization's sprites as a table, where the client can show one.",
    input: listSchema,
    isReadOnly: true,
    meta: { ui: { resourceUri: inspectorUri } },
    run: async (context, input) => structuredResult(inspected(context, input)),
  }),
  tool({
    name: "policy_network_get",
    title: "Read the network policy",
    description: "Which names a sprite may reach. Does not wake it.",
    input: z.strictObject(spriteFields),
    isReadOnly: true,
    run: (context, input) => readPolicy(context, input),
  }),
  tool({
    name: "policy_network_update",
    title: "Set the network policy",
    description:
      "Sets which names a sprite may reach, at once. When a rule allows something, the rest is denied.",
    input: policySchema,
    isReadOnly: false,
    async run(context, input) {
      pinnedSprite(context, input);
      const request = policyRequest(context, input);
      const body = { rules: input.rules };
      await handlePolicy(context.sprites, {
        ...request,
        method: "POST",
        readBody: () => Promise.resolve(body),
      });
      return await readPolicy(context, input);
    },
  }),
];

type ListInput = z.output<typeof listSchema>;

function listSprites(context: ToolContext, input: ListInput): SpriteListObject {
  const query = new URLSearchParams(
    Object.entries(input).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
  return context.sprites.list(context.organization, parseSpriteListQuery(query));
}

function inspected(context: ToolContext, input: ListInput): object {
  const { sprites, next_continuation_token } = listSprites(context, input);
  const { id: organizationId } = context.organization.record;
  return {
    sprites: sprites.map(({ id, name, organization, url, status, version, created_at }) => ({
      ...{ id, name, organization, org_id: organizationId },
      ...{ url, status, version, created_at },
      resource: { uri: spriteUri(name) },
    })),
    next_continuation_token,
    prefix: input.prefix ?? "",
  };
}

async function readPolicy(context: ToolContext, input: SpriteInput): Promise<ToolResult> {
  pinnedSprite(context, input);
  const { body } = await handlePolicy(context.sprites, policyRequest(context, input));
  return jsonResult(body ?? {});
}

function policyRequest({ organization, signal }: ToolContext, { sprite: name }: SpriteInput) {
  const readBody = () => Promise.resolve<unknown>({});
  return { method: "GET", policy: "network", name, organization, readBody, signal } as const;
}
