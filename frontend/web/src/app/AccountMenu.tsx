/** Whose things are shown, light or dark, and the way out. */

import { useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { signOut } from "@/api/auth";
import { chooseTeam } from "@/api/client";
import { forget, type Me } from "@/api/me";
import { leftByChoice } from "@/api/session";
import { words } from "@/design/format";
import { Icon } from "@/design/icons";
import type { Pressed } from "@/design/later";
import { DropdownMenu, Menu, MENU_ITEM, MenuItem } from "@/design/Menu";
import { chooseTheme, useTheme, type Theme } from "./theme";
import { complain } from "./toasts";

export interface AccountMenuProps {
  person: Me;
  trigger: ReactNode;
  pressed: Pressed;
}

export default function AccountMenu({ person, trigger, pressed }: AccountMenuProps): ReactNode {
  const client = useQueryClient();
  const navigate = useNavigate();
  const theme = useTheme();

  async function look(team: number) {
    chooseTeam(team);
    await forget(client);
  }

  async function leave() {
    try {
      await signOut();
      leftByChoice();
      chooseTeam(null);
      await forget(client);
      await navigate({ to: "/account/login" });
    } catch (error) {
      complain(error);
    }
  }

  return (
    <Menu align="start" trigger={trigger} pressed={pressed}>
      {person.teams.length > 1 && (
        <>
          <DropdownMenu.Label className="label-caps px-2 py-1">Team</DropdownMenu.Label>
          <DropdownMenu.RadioGroup value={String(person.team.id)} onValueChange={(id) => void look(Number(id))}>
            {person.teams.map((team) => (
              <Choice key={team.id} value={String(team.id)}>
                {team.name} <span className="text-soft">{words(team.role)}</span>
              </Choice>
            ))}
          </DropdownMenu.RadioGroup>
          <Rule />
        </>
      )}
      <DropdownMenu.Label className="label-caps px-2 py-1">Theme</DropdownMenu.Label>
      <DropdownMenu.RadioGroup value={theme} onValueChange={(value) => chooseTheme(value as Theme)}>
        {(["system", "light", "dark"] as const).map((one) => (
          <Choice key={one} value={one}>
            {words(one)}
          </Choice>
        ))}
      </DropdownMenu.RadioGroup>
      <Rule />
      <DropdownMenu.Item asChild>
        <Link to="/account" className={MENU_ITEM}>
          <Icon name="key" /> Account, keys and team
        </Link>
      </DropdownMenu.Item>
      <MenuItem onSelect={() => void leave()}>
        <Icon name="out" /> Sign out
      </MenuItem>
    </Menu>
  );
}

function Choice({ value, children }: { value: string; children: ReactNode }): ReactNode {
  return (
    <DropdownMenu.RadioItem value={value} className={`${MENU_ITEM} pl-7 [&[data-state=checked]]:pl-2`}>
      <DropdownMenu.ItemIndicator>
        <Icon name="check" size={14} />
      </DropdownMenu.ItemIndicator>
      {children}
    </DropdownMenu.RadioItem>
  );
}

function Rule(): ReactNode {
  return <DropdownMenu.Separator className="my-1 border-t border-line" />;
}
