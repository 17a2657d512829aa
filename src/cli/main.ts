import module from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

// Half of a short command's time would go into stripping types and compiling: it is done once.
const cacheRoot = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
module.enableCompileCache(join(cacheRoot, "opensprites", "compile"));

const { main } = await import("./run.ts");
await main(process.argv.slice(2));
