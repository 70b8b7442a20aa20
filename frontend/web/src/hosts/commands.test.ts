import { describe, expect, it } from "vitest";
import { agentLine, installLine, quoted } from "./commands";

// Expected values: what `yard host add` printed for the same broker, and Python's shlex.quote.
describe("what is pasted on a machine", () => {
  it("quotes as shlex does", () => {
    expect(quoted("http://127.0.0.1:8000")).toBe("http://127.0.0.1:8000");
    expect(quoted("a b")).toBe("'a b'");
    expect(quoted("it's")).toBe(`'it'"'"'s'`);
    expect(quoted("")).toBe("''");
  });

  it("installs the broker's own package, checked by its digest", () => {
    const wheel = { wheel: "/dl/gpuyard-0.1.0-py3-none-any.whl", sha256: "ab12" };

    expect(installLine("https://yard.example", wheel, "[node]")).toBe(
      "pip install 'gpuyard[node] @ https://yard.example/dl/gpuyard-0.1.0-py3-none-any.whl#sha256=ab12'",
    );
  });

  it("starts the agent with its token", () => {
    expect(agentLine("https://yard.example", 7, "yt_-A0")).toBe(
      "python -m gpuyard.node --broker https://yard.example --token yt_-A0 --state ~/.gpuyard/host-7",
    );
  });
});
