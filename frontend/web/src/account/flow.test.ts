import { describe, expect, it } from "vitest";
import { bareCode, grouped, stepOf, waysOf } from "./flow";

const answered = (status: number, flows: object[] = [], is_authenticated = false) =>
  ({ status, data: { flows }, meta: { is_authenticated } }) as Parameters<typeof stepOf>[0];

describe("the next step of signing in", () => {
  it("is none when one is in, or was before", () => {
    expect(stepOf(answered(200, [], true))).toEqual({ at: "in" });
    expect(stepOf({ status: 409, data: {}, meta: {} })).toEqual({ at: "in" });
  });

  it("is a code when a second factor is pending, with a recovery code where there are some", () => {
    const flows = [{ id: "login" }, { id: "mfa_authenticate", is_pending: true, types: ["totp", "recovery_codes"] }];

    expect(stepOf(answered(401, flows))).toEqual({ at: "code", recovery: true });
    expect(stepOf(answered(401, [{ id: "mfa_authenticate", is_pending: true, types: ["totp"] }]))).toEqual({
      at: "code",
      recovery: false,
    });
  });

  it("is the mail when the address is to be verified", () => {
    expect(
      stepOf(answered(401, [{ id: "login" }, { id: "signup" }, { id: "verify_email", is_pending: true }])),
    ).toEqual({ at: "mail" });
  });

  it("is to begin when nothing is pending", () => {
    expect(stepOf(answered(401, [{ id: "login" }, { id: "verify_email" }]))).toEqual({ at: "enter" });
    expect(stepOf({ status: 401, data: {}, meta: {} })).toEqual({ at: "enter" });
  });

  it("is named when this page does not know it", () => {
    expect(stepOf(answered(401, [{ id: "verify_phone", is_pending: true }]))).toEqual({
      at: "unknown",
      flow: "verify_phone",
    });
  });
});

it("says how to show again who one is", () => {
  expect(waysOf([{ id: "reauthenticate" }])).toEqual({ password: true, code: false });
  expect(waysOf([{ id: "mfa_reauthenticate", types: ["totp"] }, { id: "reauthenticate" }])).toEqual({
    password: true,
    code: true,
  });
});

it("takes a code as people copy it", () => {
  expect(bareCode(" 123 456\n")).toBe("123456");
  expect(bareCode("ab12-cd34")).toBe("ab12-cd34");
});

it("cuts a secret into fours", () => {
  expect(grouped("JBSWY3DPEHPK3PXP")).toBe("JBSW Y3DP EHPK 3PXP");
  expect(grouped("ABCDE")).toBe("ABCD E");
});
