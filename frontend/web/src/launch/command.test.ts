import { describe, expect, it } from "vitest";
import { commandOf, type Asked } from "./command";

const ASKED: Asked = {
  script: "train.py",
  folder: null,
  loose: false,
  requirements: false,
  args: [],
  name: "",
  resume: null,
};

describe("the command that does the same", () => {
  it("names the script and the need", () => {
    expect(
      commandOf(ASKED, {
        accelerator: "H100",
        accelerators_per_site: 8,
        sites: 2,
        samples: 200_000,
        samples_per_s: 350,
        deadline_hours: 24,
        budget_usd: "12.5",
      }),
    ).toBe(
      "yard run train.py --gpu H100:8 --sites 2 --samples 200000 --speed 350 --deadline 24 --budget 12.5 --dry-run",
    );
  });

  it("repeats what can be several, and wishes for the rest", () => {
    expect(
      commandOf(ASKED, {
        accelerator: ["H100", "A100"],
        accelerators: 16,
        countries: ["DE", "FR"],
        markets: ["spot"],
        not_providers: ["aws", "gcp"],
        max_spot_share: 0.5,
        prefer_own: true,
        offers: [1, 2],
        max_sites: 3,
      }),
    ).toBe(
      "yard run train.py --gpu any -w accelerator=H100,A100 --country DE --country FR --market spot -w accelerators=16 -w max_sites=3 -w offers=1,2 -w not_providers=aws,gcp -w prefer_own=true -w max_spot_share=0.5 --dry-run",
    );
  });

  it("wishes for reserved machines, which --market does not know", () =>
    expect(commandOf(ASKED, { markets: ["reserved", "spot"] })).toContain("-w markets=reserved,spot"));

  it("sends a folder, loose files, or the packages alone", () => {
    expect(commandOf({ ...ASKED, folder: "my run" }, {})).toBe("yard run train.py --workdir 'my run' --dry-run");
    expect(commandOf({ ...ASKED, loose: true, requirements: true }, {})).toBe(
      "yard run train.py --workdir . --dry-run",
    );
    expect(commandOf({ ...ASKED, requirements: true }, {})).toBe(
      "yard run train.py --requirements requirements.txt --dry-run",
    );
  });

  it("quotes what a shell would take apart", () => {
    expect(
      commandOf(
        { ...ASKED, args: ["--lr", "3e-4", "a b", "it's", ""], name: "a run", resume: { workload: 12, version: 180 } },
        {},
      ),
    ).toBe(`yard run train.py --name 'a run' --resume 12@180 --dry-run -- --lr 3e-4 'a b' 'it'\\''s' ''`);
  });
});
