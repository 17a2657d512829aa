import { SyntaxKind } from "typescript/unstable/ast";
import { createScanner } from "typescript/unstable/ast/scanner";

export interface Token {
  kind: SyntaxKind;
  /** As written; for strings and templates without their quotes. */
  value: string;
  line: number;
}

/** After these a slash divides; after anything else it starts a regular expression. */
const operandEnds: ReadonlySet<SyntaxKind> = new Set([
  SyntaxKind.Identifier,
  SyntaxKind.PrivateIdentifier,
  SyntaxKind.NumericLiteral,
  SyntaxKind.BigIntLiteral,
  SyntaxKind.StringLiteral,
  SyntaxKind.NoSubstitutionTemplateLiteral,
  SyntaxKind.TemplateTail,
  SyntaxKind.CloseParenToken,
  SyntaxKind.CloseBracketToken,
  SyntaxKind.CloseBraceToken,
  SyntaxKind.ThisKeyword,
  SyntaxKind.SuperKeyword,
  SyntaxKind.TrueKeyword,
  SyntaxKind.FalseKeyword,
  SyntaxKind.NullKeyword,
]);

/**
 * The tokens of a TypeScript text, without comments. Knows templates and regular expressions as the
 * compiler's parser does.
 */
export function tokenize(text: string): Token[] {
  const scanner = createScanner(true, 0, text);
  const tokens: Token[] = [];
  /** For each open brace: whether it is the `${` of a template. */
  const braces: boolean[] = [];
  let line = 1;
  let countedTo = 0;
  let previous: SyntaxKind | null = null;
  for (;;) {
    let kind = scanner.scan();
    if (kind === SyntaxKind.EndOfFile) return tokens;
    const isSlash = kind === SyntaxKind.SlashToken || kind === SyntaxKind.SlashEqualsToken;
    if (isSlash && !(previous !== null && operandEnds.has(previous)))
      kind = scanner.reScanSlashToken();
    if (kind === SyntaxKind.CloseBraceToken && braces.pop() === true)
      kind = scanner.reScanTemplateToken(false);
    if (kind === SyntaxKind.OpenBraceToken) braces.push(false);
    if (kind === SyntaxKind.TemplateHead || kind === SyntaxKind.TemplateMiddle) braces.push(true);
    const start = scanner.getTokenStart();
    for (; countedTo < start; countedTo += 1) if (text[countedTo] === "\n") line += 1;
    const isText =
      kind === SyntaxKind.StringLiteral || kind === SyntaxKind.NoSubstitutionTemplateLiteral;
    tokens.push({ kind, value: isText ? scanner.getTokenValue() : scanner.getTokenText(), line });
    previous = kind;
  }
}
