import type { ServerResponse } from "node:http";

import { encodeNdjsonLine, ndjsonContentType } from "../contract/ndjson.ts";
import { parseSpriteListQuery } from "../contract/sprite.ts";
import type { AddedHeaders } from "./splice/http-heads.ts";
import { watchBufferSizeBytesMax, watchInitialLinesMax } from "./limits.ts";
import type { Organization } from "./organization.ts";
import type { Sprites } from "./sprites.ts";

export function wantsWatch(accept: string | undefined): boolean {
  return accept?.toLowerCase().includes(ndjsonContentType) ?? false;
}

export interface WatchOptions {
  sprites: Sprites;
  organization: Organization;
  query: URLSearchParams;
  response: ServerResponse;
  added: AddedHeaders;
}

/** Stays open until the client or the server leaves. @throws SpriteError */
export function streamWatch(options: WatchOptions): void {
  const { sprites, organization, response } = options;
  const query = parseSpriteListQuery(options.query);
  const isLimited = options.query.has("max_results");
  const lines = sprites.watch.initialLines(organization, {
    ...query,
    pageSize: isLimited ? query.pageSize : watchInitialLinesMax,
  });
  const remove = sprites.watch.watchers.add(organization.record.slug, {
    prefix: query.prefix,
    labels: query.labels,
    write: (line) => {
      if (response.writableLength > watchBufferSizeBytesMax) response.destroy();
      else response.write(line);
    },
    end: () => response.end(),
  });
  response.once("close", remove);
  response.writeHead(200, { ...options.added, "content-type": ndjsonContentType });
  response.flushHeaders();
  const text = lines.map((line) => encodeNdjsonLine({ ...line })).join("");
  if (text !== "") response.write(text);
}
