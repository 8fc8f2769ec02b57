/**
 * How a replicated row meets one that is there. In each case the outcome depends on the two rows only, not on which came first.
 *
 * | table | the row that stands |
 * |---|---|
 * | jobs | the higher (epoch, writer, number of its last event): of a lower epoch nothing gets through, late as it may come |
 * | usage | the higher (epoch, cell): one row per job whatever happened |
 * | audit_heads, beats | the further one |
 * | api_keys | what is there; a revocation is never undone |
 * | all others | what is there: their keys say that it is the same row |
 *
 * Two different rows where there can only be one (a job with two messages, a forked chain, two policies of one revision) are noted in
 * `replication_conflicts`, which nobody empties but an operator.
 */

/** Function and trigger. `new` is the row that arrives; a trigger that returns null leaves the table as it is. */
function merge(table: string, keys: readonly string[], { same, onInsert = '', onUpdate }: { same?: string; onInsert?: string; onUpdate?: string }): string[] {
  const key = keys.map((k) => `${table}.${k} = new.${k}`).join(' and ');
  const named = keys.map((k) => `new.${k}::text`).join(" || '/' || ");
  const note = same === undefined ? '' : `
        if mine.${same} is distinct from new.${same} then
          insert into replication_conflicts (relation, key, at) values ('${table}', ${named}, (extract(epoch from clock_timestamp()) * 1000)::bigint) on conflict do nothing;
        end if;`;
  return [`
    create function ccc_merge_${table}() returns trigger language plpgsql set search_path from current as $merge$
      declare mine ${table};
      begin
        if tg_op = 'UPDATE' then
          ${onUpdate ?? ''}
          return new;
        end if;
        -- The insert below.
        if pg_trigger_depth() > 1 then return new; end if;
        -- Not a look first: two peers may send the same row at once.
        insert into ${table} values (new.*) on conflict do nothing;
        if found then return null; end if;
        select * into mine from ${table} where ${key} for update;${note}
        ${onInsert}
        return null;
      end
    $merge$`,
  `create trigger ccc_merge before insert${onUpdate === undefined ? '' : ' or update'} on ${table} for each row execute function ccc_merge_${table}()`,
  `alter table ${table} enable replica trigger ccc_merge`];
}

const rank = (row: string, columns: readonly string[]): string => `(${columns.map((c) => `${row}.${c}${c === 'writer' || c === 'cell' ? ' collate "C"' : ''}`).join(', ')})`;

/** One row that two cells may write: the higher rank stands, whether it arrives as an insert or as an update. */
function ranked(table: string, keys: readonly string[], ranks: readonly string[], columns: readonly string[], same?: string): string[] {
  return merge(table, keys, {
    ...(same === undefined ? {} : { same }),
    onInsert: `
        if ${rank('new', ranks)} > ${rank('mine', ranks)} then
          update ${table} set ${columns.map((c) => `${c} = new.${c}`).join(', ')} where ${keys.map((k) => `${table}.${k} = new.${k}`).join(' and ')};
        end if;`,
    onUpdate: `if ${rank('new', ranks)} < ${rank('old', ranks)} then return null; end if;`,
  });
}

const JOB = ['tenant_id', 'job_id'];

export const mergeTriggers = (): string[] => [
  ...ranked('jobs', JOB, ['epoch', 'writer', 'events'], [
    'state', 'code', 'message_digest', 'size', 'zone', 'classification', 'key_id', 'cell', 'accepted_at', 'finished_at', 'due_at', 'lease_token', 'session_id', 'attempts', 'events', 'epoch', 'writer',
  ], 'message_digest'),
  ...ranked('usage', JOB, ['epoch', 'cell'], ['bytes', 'classification', 'at', 'epoch', 'cell']),
  ...ranked('audit_heads', ['cell'], ['seq'], ['seq', 'hash']),
  ...ranked('beats', ['cell'], ['at'], ['at']),
  ...merge('job_events', [...JOB, 'n', 'epoch', 'cell'], {}),
  ...merge('results', [...JOB, 'epoch', 'cell'], { same: 'sealed' }),
  ...merge('audit', ['cell', 'seq'], { same: 'hash' }),
  ...merge('receipts', ['instance', 'seq'], { same: 'jws' }),
  ...merge('sessions', ['id'], { same: 'evidence' }),
  ...merge('policies', ['revision'], { same: 'jws' }),
  ...merge('tenants', ['id'], { same: 'zone' }),
  ...merge('api_keys', ['id'], {
    same: 'hash',
    onInsert: 'if mine.revoked_at is null and new.revoked_at is not null then update api_keys set revoked_at = new.revoked_at where api_keys.id = new.id; end if;',
    onUpdate: 'new.revoked_at := least(new.revoked_at, old.revoked_at);',
  }),
];
