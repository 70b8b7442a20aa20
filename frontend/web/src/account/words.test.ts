import { describe, expect, it } from "vitest";
import { EXPIRIES, expiresAt, keyState, lastOwner, ownersOnly, scopeText } from "./words";

const NOW = Date.parse("2026-11-26T12:00:00Z");

describe("scopes", () => {
  it("are each told in a line of their own", () => {
    const told = ["read", "run", "supply", "operate", "observe"].map(scopeText);

    expect(new Set(told).size).toBe(5);
  });

  it("may be newer than this page", () => {
    expect(scopeText("settle")).toBe("Something that this page does not know yet.");
  });
});

describe("a key", () => {
  it("ends after so many days, or never", () => {
    expect(expiresAt("90", NOW)).toBe("2027-02-24T12:00:00.000Z");
    expect(expiresAt("", NOW)).toBeNull();
    expect(EXPIRIES.map(({ value, days }) => value === (days === null ? "" : String(days)))).not.toContain(false);
  });

  it("is open until it is revoked or its time is over", () => {
    expect(keyState({ revoked_at: null, expires_at: null }, NOW)).toBe("open");
    expect(keyState({ revoked_at: null, expires_at: "2026-11-26T12:00:01Z" }, NOW)).toBe("open");
    expect(keyState({ revoked_at: null, expires_at: "2026-11-26T12:00:00Z" }, NOW)).toBe("expired");
    expect(keyState({ revoked_at: "2026-11-01T00:00:00Z", expires_at: "2026-11-02T00:00:00Z" }, NOW)).toBe("revoked");
  });
});

describe("a team", () => {
  it("is changed by its owners", () => {
    expect(ownersOnly("owner")).toBeNull();
    expect(ownersOnly("viewer")).toMatch(/^You are a viewer/);
  });

  it("keeps an owner", () => {
    const ada = { role: "owner" } as const;

    expect(lastOwner(ada, [ada, { role: "member" }])).toMatch(/only owner/);
    expect(lastOwner(ada, [ada, { role: "owner" }])).toBeNull();
    expect(lastOwner({ role: "member" }, [ada])).toBeNull();
  });
});
