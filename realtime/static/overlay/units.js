// "214 bags", "1 bag", "3 boxes", "214 袋": the unit of an offer beside a number, in the overlay's language.

import { locale, named, translator } from "../i18n.js";

const t = translator({ one: ["unit", "件"], many: ["units", "件"] });

export function unitsOf(card, number) {
  const unit = card ? named(card, "unit") : "";
  if (!unit) return t(number === 1 ? "one" : "many");
  const plain = locale === "en" && number !== 1 && /^[a-z]+$/i.test(unit);
  if (!plain) return unit;
  if (/(s|x|z|ch|sh)$/i.test(unit)) return `${unit}es`;
  return /[^aeiou]y$/i.test(unit) ? `${unit.slice(0, -1)}ies` : `${unit}s`;
}
