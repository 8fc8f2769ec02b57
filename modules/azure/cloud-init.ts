/**
 * Custom data of a VM: files and units that start one role's container with the cell's configuration. Everything in it is known at synthesis, so a test reads
 * what is deployed; nothing in it is a secret, and what is secret at run time (tokens of the VM's identity) lives in /run.
 *
 * Custom data comes from the operator and no PCR covers it by itself. It must not be able to change what runs in a TEE: the measured image takes the units
 * below from its own verified root file system, measures this file before cloud-init reads it, and has cloud-init's modules cut down to `write_files` and
 * `runcmd`. That is the image build's part of the contract (docs/images.md); until it holds, PCRs prove the image and not this file.
 */
import type { CellFile } from '../cell-config.ts';
import { HOSTS, PORTS } from '../cell-config.ts';
import { need } from '../configuration-error.ts';
import type { WorkloadRole } from '../measurements.ts';
import { ORIGIN_PORT } from './network.ts';

/** Azure's limit of custom data, before base64. */
export const MAX_BYTES = 65_535;
export const UNITS = ['ccc-pull.service', 'ccc-role.service', 'ccc-health.socket', 'ccc-health@.service'] as const;

export interface CloudInitProps {
  readonly role: WorkloadRole;
  readonly cell: CellFile;
  /** `<registry>/ccc-<role>@sha256:...`: by digest, from the cell's own registry. */
  readonly image: string;
  readonly tenantId: string;
  /** Settings of the process, not secret. */
  readonly environment: Readonly<Record<string, string>>;
  /** Gateways: certificate of the origin as a secret of the infrastructure's vault; the database that wants a token. */
  readonly tls?: { readonly secretUri: string };
  readonly database?: { readonly host: string; readonly user: string; readonly name: string };
}

interface File { readonly path: string; readonly permissions: string; readonly content: string; readonly owner?: string }

const IMDS = 'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=';
/** Sets of this cell have one identity each, so the metadata service needs no name. Tokens go through pipes: an argument list is readable by every process. */
const tokenFor = (resource: string): string => `curl -fsS --retry 8 --retry-all-errors --noproxy '*' -H Metadata:true '${IMDS}${encodeURIComponent(resource)}' | jq -er .access_token`;

export function cloudInit(props: CloudInitProps): string {
  const { role, cell, image } = props;
  need(/^[a-z0-9.]+\/ccc-[a-z]+@sha256:[0-9a-f]{64}$/.test(image), `image of ${role}`, image, '<registry>/ccc-<role>@sha256:<64 hex>');
  const gateway = role === 'gateway';
  need(gateway === (props.tls !== undefined && props.database !== undefined), `settings of ${role}`, Object.keys(props), gateway ? 'a certificate and a database' : 'neither a certificate nor a database: a TEE holds no credentials of them');
  const files: File[] = [
    file('/etc/ccc/cell.json', cell.json, '0444'),
    file('/etc/ccc/role.env', Object.entries({ ...(gateway ? databaseSettings(props) : {}), ...props.environment }).map(([key, value]) => `${key}=${value}\n`).join(''), '0444'),
    script('pull', pull(image, props.tenantId)), script('health', health(role)),
    unit('ccc-pull.service', { Unit: { Description: 'Image of the role, by digest', After: 'network-online.target', Wants: 'network-online.target' }, Service: { Type: 'oneshot', RemainAfterExit: 'yes', ExecStart: '/bin/bash /etc/ccc/pull.sh', Restart: 'on-failure', RestartSec: '10' } }),
    unit('ccc-role.service', roleUnit(props)),
    unit('ccc-health.socket', { Socket: { ListenStream: String(PORTS.health), Accept: 'yes', MaxConnections: '16' }, Install: { WantedBy: 'sockets.target' } }),
    unit('ccc-health@.service', { Service: { ExecStart: '-/bin/bash /etc/ccc/health.sh', StandardInput: 'socket', StandardOutput: 'socket', StandardError: 'journal', TimeoutStartSec: '10' } }),
    // The agent runs the extension that reports attestation and the health check, signed ones; run-command and custom scripts stay out whatever ARM asks for.
    file('/etc/waagent_policy.json', JSON.stringify({
      policyVersion: '0.1.0',
      extensionPolicies: { allowListedExtensionsOnly: true, signatureRequired: true, extensions: { 'Microsoft.Azure.Security.LinuxAttestation.GuestAttestation': {}, 'Microsoft.ManagedServices.ApplicationHealthLinux': {} } },
    }), '0444'),
    ...(gateway ? gatewayFiles(props) : []),
  ];
  const started = ['ccc-health.socket', ...(gateway ? ['ccc-database-token.timer', 'ccc-tls.service'] : []), 'ccc-role.service'];
  const document = {
    ssh_pwauth: false, disable_root: true, package_update: false, package_upgrade: false, users: [],
    write_files: files,
    runcmd: [['systemctl', 'daemon-reload'], ['systemctl', 'enable', '--now', ...started]],
  };
  // JSON is YAML, and has one spelling only.
  const text = `#cloud-config\n${JSON.stringify(document, null, 1)}\n`;
  need(Buffer.byteLength(text) <= MAX_BYTES, `custom data of ${role}`, Buffer.byteLength(text), `at most ${MAX_BYTES} bytes`);
  return text;
}

const file = (path: string, content: string, permissions: string): File => ({ path, permissions, content, owner: 'root:root' });
const script = (name: string, content: string): File => file(`/etc/ccc/${name}.sh`, `#!/bin/bash\nset -euo pipefail\n${content}`, '0555');
const unit = (name: string, sections: Readonly<Record<string, Readonly<Record<string, string>>>>): File =>
  file(`/etc/systemd/system/${name}`, Object.entries(sections).map(([section, values]) => `[${section}]\n${Object.entries(values).map(([key, value]) => `${key}=${value}\n`).join('')}`).join('\n'), '0444');

/** Of the container's user: it reads what root writes there. */
const OWN_FOLDER = 'install -d -m 0750 -o 10001 -g 10001 /run/ccc';

function pull(image: string, tenant: string): string {
  const registry = image.split('/')[0] ?? '';
  return `podman image exists '${image}' && exit 0
trap 'rm -f /run/ccc-pull.json' EXIT
${tokenFor('https://management.azure.com/')} | tr -d '\\n' \\
  | curl -fsS --data 'grant_type=access_token&service=${registry}&tenant=${tenant}' --data-urlencode 'access_token@-' 'https://${registry}/oauth2/exchange' | jq -er .refresh_token \\
  | podman login --authfile /run/ccc-pull.json --username 00000000-0000-0000-0000-000000000000 --password-stdin '${registry}'
podman pull --authfile /run/ccc-pull.json '${image}'
`;
}

/** What the load balancers and the scale set ask: does the role answer, now. */
function health(role: WorkloadRole): string {
  const check = { gateway: `curl -fsS -m 5 -o /dev/null http://127.0.0.1:${PORTS.public}/v1/health`, broker: `(exec 3<>/dev/tcp/127.0.0.1/${PORTS.broker}) 2>/dev/null`, counter: 'true' }[role];
  return `while read -r -t 5 line && [ -n "\${line%$'\\r'}" ]; do :; done
if systemctl is-active --quiet ccc-role.service && ${check}; then status='200 OK' body='{"ApplicationHealthState":"Healthy"}'; else status='503 Service Unavailable' body='{"ApplicationHealthState":"Unhealthy"}'; fi
printf 'HTTP/1.1 %s\\r\\nContent-Type: application/json\\r\\nContent-Length: %s\\r\\nConnection: close\\r\\n\\r\\n%s' "$status" "\${#body}" "$body"
`;
}

function roleUnit({ role, image }: CloudInitProps): Record<string, Record<string, string>> {
  // Listeners bind by their name in cell.json, and that name is the load balancer's outside: inside the container it is every address of its own.
  const own = role === 'counter' ? [] : [`--add-host ${HOSTS[role]}:0.0.0.0`];
  const run = [
    '/usr/bin/podman run --rm --replace --name ccc-role --network host --read-only --tmpfs /tmp:rw,noexec,nosuid,nodev --cap-drop all --security-opt no-new-privileges --pids-limit 512 --ulimit core=0:0 --log-driver journald',
    '--user 10001:10001 --env-file /etc/ccc/role.env --volume ccc-data:/var/lib/ccc:U --volume /etc/ccc/cell.json:/var/lib/ccc/cell.json:ro', ...own,
    // Evidence: the vTPM, and its hardware report below an NV index.
    ...(role === 'gateway' ? ['--volume /run/ccc:/run/ccc:ro --env-file /run/ccc/telemetry.env'] : ['--device /dev/tpmrm0']),
    image,
    ...(role === 'counter' ? ['--data /var/lib/ccc --name %H'] : ['--data /var/lib/ccc']),
  ];
  return {
    Unit: { Description: `Confidential Cat Counter: ${role}`, Requires: 'ccc-pull.service', After: 'ccc-pull.service' },
    Service: {
      ExecStartPre: role === 'gateway' ? '/bin/bash -c "/bin/bash /etc/ccc/database-token.sh && /bin/bash /etc/ccc/telemetry.sh"' : '/bin/chown 10001:10001 /dev/tpmrm0',
      ExecStart: run.join(' '), ExecStop: '/usr/bin/podman stop --time 40 ccc-role', Restart: 'always', RestartSec: '5', TimeoutStopSec: '60', LimitCORE: '0',
      // Scale-in and repair announce themselves by a scheduled event; SIGTERM lets a counter finish or return its leases.
      KillSignal: 'SIGTERM',
    },
    Install: { WantedBy: 'multi-user.target' },
  };
}

/** No password exists: the driver reads a token of the VM's identity from a file for each new connection, and a timer renews it. */
function databaseSettings({ database }: CloudInitProps): Record<string, string> {
  if (database === undefined) return {};
  return { DATABASE_URL: `postgres://${database.user}@${database.host}:5432/${database.name}?sslmode=verify-full`, PGPASSFILE: '/run/ccc/pgpass' };
}

function gatewayFiles({ database, tls }: CloudInitProps): File[] {
  if (database === undefined || tls === undefined) return [];
  return [
    script('database-token', `umask 077\n${OWN_FOLDER}\ntoken=$(${tokenFor('https://ossrdbms-aad.database.windows.net')})
printf '%s:5432:%s:%s:%s\\n' '${database.host}' '${database.name}' '${database.user}' "$token" > /run/ccc/pgpass.new
chown 10001:10001 /run/ccc/pgpass.new\nmv -f /run/ccc/pgpass.new /run/ccc/pgpass\n`),
    // Known only after the apply, so it comes as user data; not a secret: telemetry is accepted from the identity alone.
    script('telemetry', `${OWN_FOLDER}\nprintf 'APPLICATIONINSIGHTS_CONNECTION_STRING=%s\\n' "$(curl -fsS --noproxy '*' -H Metadata:true 'http://169.254.169.254/metadata/instance/compute/userData?api-version=2021-01-01&format=text' | base64 -d)" > /run/ccc/telemetry.env\n`),
    unit('ccc-database-token.service', { Unit: { Description: 'Token for the database' }, Service: { Type: 'oneshot', ExecStart: '/bin/bash /etc/ccc/database-token.sh' } }),
    unit('ccc-database-token.timer', { Timer: { OnBootSec: '0', OnUnitActiveSec: '15min', Persistent: 'true' }, Install: { WantedBy: 'timers.target' } }),
    script('tls', `umask 077\nmkdir -p /run/ccc-tls
{ printf 'Authorization: Bearer '; ${tokenFor('https://vault.azure.net')}; } > /run/ccc-tls/header
curl -fsS --retry 8 --retry-all-errors -H @/run/ccc-tls/header '${tls.secretUri}?api-version=7.4' | jq -er .value > /run/ccc-tls/origin.pem
rm -f /run/ccc-tls/header\n`),
    file('/etc/ccc/stunnel.conf', `foreground = yes\nsslVersionMin = TLSv1.2\n[origin]\naccept = ${ORIGIN_PORT}\nconnect = 127.0.0.1:${PORTS.public}\ncert = /run/ccc-tls/origin.pem\n`, '0444'),
    unit('ccc-tls.service', {
      Unit: { Description: 'TLS of the origin, for the leg from the edge' },
      Service: { ExecStartPre: '/bin/bash /etc/ccc/tls.sh', ExecStart: '/usr/bin/stunnel /etc/ccc/stunnel.conf', Restart: 'always', RestartSec: '10', RuntimeMaxSec: '1d' },
      Install: { WantedBy: 'multi-user.target' },
    }),
  ];
}
