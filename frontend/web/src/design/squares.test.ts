import { encode } from "uqr";
import { expect, it } from "vitest";
import { squares } from "./squares";

it("a code's rows are drawn as strokes", () =>
  expect(
    squares([
      [true, true, false, true],
      [false, false, true, false],
    ]),
  ).toBe("M0 0h2v1H0zM3 0h1v1H3zM2 1h1v1H2z"));

it("every dark square is drawn, and no other", () => {
  const { data } = encode("otpauth://totp/GPUYard:ada@example.org?secret=JBSWY3DPEHPK3PXP&issuer=GPUYard", {
    ecc: "M",
  });

  const strokes = [...squares(data).matchAll(/M\d+ \d+h(\d+)/g)].map(([, width]) => Number(width));

  expect(strokes.reduce((sum, one) => sum + one, 0)).toBe(data.flat().filter(Boolean).length);
});
