import { expect, it } from "vitest";
import { readable, sentence } from "./words";

it.each([
  [
    "cheapest and safest: one site, 6.581674 USD an hour for about 23485 s at a stated speed: 31.03 to 50.21 USD",
    "Cheapest and safest: one site, $6.58 an hour for about 6 h 31 min at a stated speed: $31.03 to $50.21.",
  ],
  [
    "one site, 7.053200 USD an hour; the cost to finish needs --samples and a speed",
    "One site, $7.05 an hour; the cost to finish needs the samples and a speed.",
  ],
  ["azure/westus2, 8 x A100-40GB spot: the same cost", "Azure/westus2, 8 x A100-40GB spot: the same cost."],
])("%s", (text, said) => expect(sentence(readable(text))).toBe(said));
