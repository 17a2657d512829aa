import { SyntaxKind } from "typescript/unstable/ast";

import { tokenize, type Token } from "./tokens.ts";

export interface Import {
  specifier: string;
  /** Imported or re-exported names as the other file calls them; `*` stands for all of them. */
  names: string[];
  line: number;
}

export interface ExportedName {
  name: string;
  line: number;
  isType: boolean;
}

export interface ModuleShape {
  imports: Import[];
  exports: ExportedName[];
  /** How often each identifier occurs, declarations included. */
  identifierCounts: Map<string, number>;
  /** String literals that name a TypeScript file, such as the program of a child process. */
  fileNames: string[];
}

const declarationKeywords: ReadonlySet<string> = new Set([
  "const",
  "let",
  "function",
  "class",
  "interface",
  "type",
]);

/** What a module takes from others and gives to them, read from its tokens. */
export function readModule(text: string): ModuleShape {
  const tokens = tokenize(text);
  const shape: ModuleShape = {
    imports: [],
    exports: [],
    identifierCounts: new Map(),
    fileNames: [],
  };
  for (const [index, token] of tokens.entries()) {
    if (isWord(token)) {
      shape.identifierCounts.set(token.value, (shape.identifierCounts.get(token.value) ?? 0) + 1);
    }
    if (isFileName(token)) shape.fileNames.push(token.value);
    if (token.kind === SyntaxKind.ImportKeyword) readImport(tokens, index, shape);
    if (token.kind === SyntaxKind.ExportKeyword) readExport(tokens, index, shape);
  }
  return shape;
}

/** An identifier, or a keyword: many of those, such as `assert` and `of`, are names as well. */
function isWord(token: Token | undefined): boolean {
  if (token === undefined || token.kind === SyntaxKind.StringLiteral) return false;
  if (token.kind === SyntaxKind.NoSubstitutionTemplateLiteral) return false;
  return /^[A-Za-z_$][\w$]*$/.test(token.value);
}

function isFileName(token: Token): boolean {
  const isText =
    token.kind === SyntaxKind.StringLiteral ||
    token.kind === SyntaxKind.NoSubstitutionTemplateLiteral ||
    token.kind === SyntaxKind.TemplateTail;
  return isText && /\.ts`?$/.test(token.value);
}

function readImport(tokens: readonly Token[], index: number, shape: ModuleShape): void {
  const next = tokens[index + 1];
  if (next === undefined || next.kind === SyntaxKind.DotToken) return;
  const line = next.line;
  if (next.kind === SyntaxKind.StringLiteral) {
    shape.imports.push({ specifier: next.value, names: [], line });
    return;
  }
  if (next.kind === SyntaxKind.OpenParenToken) {
    const specifier = tokens[index + 2];
    // A type such as `import("./x.ts").Name` and a dynamic import alike: all names count as used.
    if (specifier?.kind === SyntaxKind.StringLiteral) {
      shape.imports.push({ specifier: specifier.value, names: ["*"], line });
    }
    return;
  }
  readClause(tokens, index + 1, shape);
}

function readExport(tokens: readonly Token[], index: number, shape: ModuleShape): void {
  let cursor = index + 1;
  while (["async", "abstract", "declare"].includes(tokens[cursor]?.value ?? "")) cursor += 1;
  const keyword = tokens[cursor];
  if (keyword === undefined) return;
  const after = tokens[cursor + 1];
  const isClause =
    keyword.value === "{" ||
    keyword.value === "*" ||
    (keyword.value === "type" && after?.value === "{");
  if (isClause) {
    for (const name of readClause(tokens, cursor, shape)) {
      shape.exports.push({ name, line: keyword.line, isType: false });
    }
    return;
  }
  if (!declarationKeywords.has(keyword.value)) return;
  const nameToken = after?.value === "*" ? tokens[cursor + 2] : after;
  if (nameToken === undefined) return;
  const isType = keyword.value === "interface" || keyword.value === "type";
  shape.exports.push({ name: nameToken.value, line: nameToken.line, isType });
}

/**
 * Reads `{ a, type b as c } from "x"` and its kin. Returns the names that the clause gives to its
 * own file; the import, if there is a `from`, goes into the shape.
 */
function readClause(tokens: readonly Token[], start: number, shape: ModuleShape): string[] {
  const theirNames: string[] = [];
  const ourNames: string[] = [];
  let cursor = start;
  for (; cursor < tokens.length; cursor += 1) {
    const token = tokens[cursor];
    if (token === undefined || token.value === ";" || token.value === "=") break;
    if (token.value === "from" && tokens[cursor + 1]?.kind === SyntaxKind.StringLiteral) {
      const specifier = tokens[cursor + 1]?.value ?? "";
      shape.imports.push({ specifier, names: theirNames, line: token.line });
      break;
    }
    if (token.value === "*") theirNames.push("*");
    const next = tokens[cursor + 1];
    const isTypeModifier = token.value === "type" && isWord(next) && next?.value !== "as";
    const isModifier = token.value === "as" || isTypeModifier;
    if (!isWord(token) || isModifier || tokens[cursor - 1]?.value === "as") continue;
    if (token.value === "from") continue;
    theirNames.push(token.value);
    ourNames.push(
      tokens[cursor + 1]?.value === "as" ? (tokens[cursor + 2]?.value ?? "") : token.value,
    );
  }
  return ourNames;
}
