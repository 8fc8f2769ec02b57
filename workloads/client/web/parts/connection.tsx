/** Whom to ask and whom to believe; then what the broker proved. */
import { useId, useState } from 'preact/hooks';
import { brief, duration } from '../format.ts';
import type { CellFacts, Connection } from '../model.ts';
import { apiKeyProblem, nameProblem, ownerKeyProblem, type Settings } from '../settings.ts';
import { Chevron, StateIcon } from './icons.tsx';
import { RawView } from './raw-view.tsx';
import { Refusal } from './refusal.tsx';
import { Facts } from './step-list.tsx';

export interface ConnectionPanelProps {
  readonly gateway: string;
  readonly settings: Partial<Settings>;
  /** The owner key comes from the page server, so it is not to be changed here. */
  readonly pinned: boolean;
  readonly connection: Connection;
  onConnect(settings: Settings): void;
}

function Field(props: { label: string; value: string; problem?: string; hint: string; secret?: boolean; readOnly?: boolean; onInput: (value: string) => void }) {
  const [id, hint] = [useId(), useId()];
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        {...(props.secret ? { type: 'password' as const } : { type: 'text' as const })} id={id} value={props.value} readOnly={props.readOnly} autocomplete="off" autocapitalize="off" spellcheck={false}
        aria-describedby={hint} aria-invalid={props.problem !== undefined} onInput={(event) => props.onInput(event.currentTarget.value.trim())}
      />
      <p id={hint} class={props.problem ? 'hint hint-bad' : 'hint'}>{props.problem ?? props.hint}</p>
    </div>
  );
}

function Verified({ facts, onChange }: { facts: CellFacts; onChange: () => void }) {
  const [open, setOpen] = useState(false);
  const panel = useId();
  return (
    <div class="verified">
      <p class="verified-line"><StateIcon state="done" /><span>Cell <strong>{facts.cell}</strong> proved itself</span></p>
      <Facts facts={[
        { label: 'Platform', value: facts.platform },
        { label: 'Anchor', value: facts.anchor === 'development' ? 'development root' : 'production root' },
        { label: 'Status', value: facts.status },
        { label: 'PCR0', value: brief(facts.pcr0, 14), code: true },
        { label: 'Claims digest', value: brief(facts.claimsDigest, 14), code: true },
        { label: 'Policy', value: `revision ${facts.policyRevision}, signed by the owner` },
        { label: 'Tenant', value: facts.tenant },
        { label: 'Zone', value: facts.zone },
        { label: 'Verified in', value: duration(facts.ms) },
      ]} />
      <div class="row">
        <button type="button" class="disclosure" aria-expanded={open} aria-controls={panel} onClick={() => setOpen(!open)}><Chevron open={open} /> Raw evidence</button>
        <button type="button" class="link" onClick={onChange}>Change keys</button>
      </div>
      <div id={panel} hidden={!open}>{open && <RawView raw={facts.raw} />}</div>
    </div>
  );
}

export function ConnectionPanel({ gateway, settings, pinned, connection, onConnect }: ConnectionPanelProps) {
  const [apiKey, setApiKey] = useState(settings.apiKey ?? '');
  const [ownerKey, setOwnerKey] = useState(settings.ownerKey ?? '');
  const [tenant, setTenant] = useState(settings.tenant ?? '');
  const [zone, setZone] = useState(settings.zone ?? 'local');
  const [editing, setEditing] = useState(false);
  const [tried, setTried] = useState(false);
  const problems = { apiKey: apiKeyProblem(apiKey), ownerKey: ownerKeyProblem(ownerKey), tenant: nameProblem(tenant), zone: nameProblem(zone) };
  const busy = connection.state === 'checking';
  const submit = (event: Event) => {
    event.preventDefault();
    setTried(true);
    if (Object.values(problems).some((p) => p !== undefined)) return;
    setEditing(false);
    onConnect({ ...settings, apiKey, ownerKey, tenant, zone });
  };
  return (
    <section class="card connection" aria-label="Connection">
      <header class="connection-head"><h2>Connection</h2><code class="muted">{gateway}</code></header>
      {connection.state === 'verified' && !editing
        ? <Verified facts={connection.facts} onChange={() => setEditing(true)} />
        : (
          <form onSubmit={submit} noValidate>
            <Field label="API key" secret value={apiKey} problem={tried ? problems.apiKey : undefined} hint="Kept in this tab only. It can submit jobs; it cannot open anything." onInput={setApiKey} />
            <Field label="Owner key, pinned" readOnly={pinned} value={ownerKey} problem={tried ? problems.ownerKey : undefined} hint={pinned ? 'Pinned by ccc page on your machine.' : 'Get it from the owner, never from a gateway.'} onInput={setOwnerKey} />
            <div class="field-pair">
              <Field label="Tenant" value={tenant} problem={tried ? problems.tenant : undefined} hint="Whose keys" onInput={setTenant} />
              <Field label="Zone" value={zone} problem={tried ? problems.zone : undefined} hint="Where they live" onInput={setZone} />
            </div>
            <button type="submit" class="button" disabled={busy}>{busy ? 'Verifying the evidence…' : connection.state === 'refused' ? 'Verify again' : 'Connect and verify'}</button>
            {connection.state === 'refused' && <Refusal refused={connection.refused} />}
          </form>
        )}
    </section>
  );
}
