import { text } from "../../../text.ts";
import type { Invalid } from "./validate.ts";

const words = text.tools.invalid;

/** The sentence for an error, for people. */
export function sentenceFor(invalid: Invalid): string {
  switch (invalid.code) {
    case "missing":
      return words.missing;
    case "not-a-number":
      return words.notANumber;
    case "not-json":
      return words.notJson;
    case "name-missing":
      return words.nameMissing;
    case "name-twice":
      return words.nameTwice;
    case "keyword":
      return keywordSentence(invalid.keyword, invalid.limit, invalid.detail);
  }
}

function keywordSentence(keyword: string, limit: unknown, detail: string): string {
  if (typeof limit === "number") {
    switch (keyword) {
      case "minLength":
      case "maxLength":
      case "minimum":
      case "maximum":
      case "exclusiveMinimum":
      case "exclusiveMaximum":
      case "multipleOf":
      case "minItems":
      case "maxItems":
      case "minProperties":
      case "maxProperties":
        return words[keyword](limit);
    }
  }
  switch (keyword) {
    case "type":
      return words.type([limit].flat().join(", "));
    case "format":
    case "pattern":
      return words[keyword](String(limit));
    case "const":
      return words.const(JSON.stringify(limit));
    case "enum":
    case "oneOf":
    case "anyOf":
    case "not":
    case "uniqueItems":
      return words[keyword];
    case "false":
      return words.additional;
    default:
      return words.other(detail);
  }
}
