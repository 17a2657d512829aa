/** What clients can read besides the tools: sprites, and the page that shows them. */

import { readFile } from "node:fs/promises";

import { SpriteError } from "../../contract/errors.ts";
import type { Organization } from "../organization.ts";
import type { Sprites } from "../sprites.ts";
import { RpcError, rpcCodes } from "./json-rpc.ts";
import { shownNameLengthMax } from "./limits.ts";

export const inspectorUri = "ui://sprites/inspector.html";
const inspectorType = "text/html;profile=mcp-app";
const spriteUriPrefix = "sprite://";

export function spriteUri(name: string): string {
  return `${spriteUriPrefix}${name}`;
}

export const resourceList = {
  resources: [
    {
      uri: inspectorUri,
      name: "sprite-inspector",
      title: "Sprites",
      description: "The page of open_sprite_inspector.",
      mimeType: inspectorType,
    },
  ],
};

export const resourceTemplateList = {
  resourceTemplates: [
    {
      uriTemplate: `${spriteUriPrefix}{name}`,
      name: "sprite",
      title: "A sprite",
      description: "As get_sprite_info tells it.",
      mimeType: "application/json",
    },
  ],
};

/** @throws RpcError invalid params: there is no such thing */
export async function readResource(
  sprites: Sprites,
  organization: Organization,
  uri: unknown,
): Promise<{ contents: object[] }> {
  if (uri === inspectorUri) {
    const text = await readFile(new URL("inspector.html", import.meta.url), "utf8");
    return { contents: [{ uri, mimeType: inspectorType, text }] };
  }
  if (typeof uri === "string" && uri.startsWith(spriteUriPrefix)) {
    try {
      const sprite = sprites.get(organization, uri.slice(spriteUriPrefix.length));
      return { contents: [{ uri, mimeType: "application/json", text: JSON.stringify(sprite) }] };
    } catch (error) {
      if (!(error instanceof SpriteError) || error.code !== "not_found") throw error;
    }
  }
  const shown = String(uri).slice(0, shownNameLengthMax);
  throw new RpcError(rpcCodes.invalidParams, "resource not found", { data: { uri: shown } });
}
