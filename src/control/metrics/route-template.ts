/** From a path to the template of its route: few enough for a label, whatever callers send. */

/** As in `contract/endpoints`, which a test compares: loading those would cost a schema library at every start. */
const templates: readonly string[] = [
  "/mcp",
  "/healthz",
  "/llms.txt",
  "/metrics",
  "/openapi.json",
  "/readyz",
  "/login/device",
  "/v1/sprites",
  "/v1/usage",
  "/login/device/token",
  "/v1/sprites/{name}",
  "/v1/organizations/{org}/tokens",
  "/v1/sprites/{name}/activity",
  "/v1/sprites/{name}/check",
  "/v1/sprites/{name}/checkpoint",
  "/v1/sprites/{name}/checkpoints",
  "/v1/sprites/{name}/control",
  "/v1/sprites/{name}/exec",
  "/v1/sprites/{name}/export",
  "/v1/sprites/{name}/import",
  "/v1/sprites/{name}/proxy",
  "/v1/sprites/{name}/repair",
  "/v1/sprites/{name}/restart",
  "/v1/sprites/{name}/restore-undo",
  "/v1/sprites/{name}/services",
  "/v1/sprites/{name}/sleep",
  "/v1/sprites/{name}/tasks",
  "/v1/sprites/{name}/upgrade",
  "/v1/sprites/{name}/fs/chmod",
  "/v1/sprites/{name}/fs/chown",
  "/v1/sprites/{name}/fs/copy",
  "/v1/sprites/{name}/fs/delete",
  "/v1/sprites/{name}/fs/list",
  "/v1/sprites/{name}/fs/read",
  "/v1/sprites/{name}/fs/rename",
  "/v1/sprites/{name}/fs/watch",
  "/v1/sprites/{name}/fs/write",
  "/v1/sprites/{name}/policy/network",
  "/v1/sprites/{name}/policy/privileges",
  "/v1/sprites/{name}/policy/resources",
  "/v1/sprites/{name}/ports/watch",
  "/v1/sprites/{name}/services/signal",
  "/v1/organizations/{org}/tokens/{id}",
  "/v1/sprites/{name}/checkpoints/{id}",
  "/v1/sprites/{name}/exec/{session}",
  "/v1/sprites/{name}/services/{service}",
  "/v1/sprites/{name}/tasks/{task}",
  "/v1/sprites/{name}/checkpoints/{id}/diff",
  "/v1/sprites/{name}/checkpoints/{id}/restore",
  "/v1/sprites/{name}/exec/{session}/kill",
  "/v1/sprites/{name}/services/{service}/logs",
  "/v1/sprites/{name}/services/{service}/restart",
  "/v1/sprites/{name}/services/{service}/start",
  "/v1/sprites/{name}/services/{service}/stop",
];

const bySegments = new Map<string, string[]>();
for (const template of templates) {
  const [, root = ""] = template.split("/");
  const key = `${template.split("/").length} ${root}`;
  bySegments.set(key, [...(bySegments.get(key) ?? []), template]);
}

export const otherRoute = "other";

export function routeTemplate(rawPath: string): string {
  const parts = rawPath.split("/", 12);
  const candidates = bySegments.get(`${parts.length} ${parts[1] ?? ""}`) ?? [];
  // Literal segments come before names: the list is in that order.
  return candidates.find((template) => matches(template, parts)) ?? otherRoute;
}

function matches(template: string, parts: readonly string[]): boolean {
  return template
    .split("/")
    .every((segment, index) =>
      segment.startsWith("{") ? parts[index] !== "" : segment === parts[index],
    );
}
