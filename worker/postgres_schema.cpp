// The tables, functions and views of the postgres transport, and the command that makes them.
#include <cstdio>

#include "base/owned.hpp"
#include "worker/postgres.hpp"
#include "worker/postgres_connection.hpp"

namespace tunorch::worker {
namespace {

/// {S} stands for the schema's name.
constexpr const char* tables = R"sql(
CREATE SCHEMA {S};

CREATE TABLE {S}.about (version integer NOT NULL, made timestamptz NOT NULL DEFAULT now());

-- One row a stream of a tunnel, from its connection to its end.
CREATE TABLE {S}.stream (
  id      bigint PRIMARY KEY,
  tunnel  text NOT NULL,                        -- cluster/tunnel
  dialer  text NOT NULL,
  number  integer NOT NULL,                     -- of its session
  opened  timestamptz NOT NULL DEFAULT now(),
  closed  timestamptz
);
CREATE INDEX stream_of_tunnel ON {S}.stream (tunnel, opened);

-- One row a frame. Each stream has two logs, and in each the numbers have no gaps.
CREATE TABLE {S}.packet (
  at        timestamptz NOT NULL DEFAULT now(),
  stream    bigint NOT NULL,
  direction smallint NOT NULL,                  -- 0: dialer to listener, 1: back
  seq       bigint NOT NULL,
  tunnel    text NOT NULL,
  kind      smallint NOT NULL,                  -- 3: a packet; others are the tunnel's own words
  payload   bytea NOT NULL                      -- of a packet: a virtio_net_hdr and the packet
) PARTITION BY RANGE (at);
-- What goes through a tunnel is mostly encrypted: there is nothing to compress.
ALTER TABLE {S}.packet ALTER payload SET STORAGE EXTERNAL;
CREATE INDEX packet_log ON {S}.packet (stream, direction, seq);

CREATE TABLE {S}.part (
  name text PRIMARY KEY, since timestamptz NOT NULL, until timestamptz NOT NULL);

-- Makes the parts of the table that the next minutes need, and drops those that are older than
-- asked.
-- The owner's rights: who writes packets need not be able to drop them.
CREATE FUNCTION {S}.keep(keep interval) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $fn$
DECLARE
  width interval := greatest(keep / 6, interval '10 seconds');
  since timestamptz;
  fresh text;
  part record;
BEGIN
  IF (SELECT max(p.until) FROM {S}.part p) > now() + width
     AND NOT EXISTS (SELECT FROM {S}.part p WHERE p.until < now() - keep) THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('tunorch'), hashtext('{S}'));
  SELECT greatest(max(p.until), date_trunc('second', now()) - interval '1 minute')
    INTO since FROM {S}.part p;
  WHILE since <= now() + width LOOP
    fresh := 'packet_' || to_char(since AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS_US');
    -- Attached, not made in place: that would wait for, and hold up, everybody who writes.
    EXECUTE format('CREATE TABLE {S}.%I (LIKE {S}.packet INCLUDING DEFAULTS INCLUDING STORAGE)',
                   fresh);
    EXECUTE format('ALTER TABLE {S}.packet ATTACH PARTITION {S}.%I FOR VALUES FROM (%L) TO (%L)',
                   fresh, since, since + width);
    INSERT INTO {S}.part VALUES (fresh, since, since + width);
    since := since + width;
  END LOOP;
  FOR part IN SELECT p.name FROM {S}.part p WHERE p.until < now() - keep LOOP
    EXECUTE format('DROP TABLE {S}.%I', part.name);
    DELETE FROM {S}.part p WHERE p.name = part.name;
  END LOOP;
  DELETE FROM {S}.stream s WHERE s.closed < now() - keep;
  DELETE FROM {S}.stream s WHERE s.opened < now() - keep AND NOT EXISTS
    (SELECT FROM {S}.packet p WHERE p.stream = s.id);
END $fn$;

CREATE FUNCTION {S}.address(packet bytea, at integer, bytes integer) RETURNS inet
LANGUAGE sql IMMUTABLE STRICT AS $fn$
  SELECT CASE bytes
    WHEN 4 THEN concat_ws('.', get_byte(packet, at), get_byte(packet, at + 1),
                          get_byte(packet, at + 2), get_byte(packet, at + 3))::inet
    ELSE rtrim(regexp_replace(encode(substring(packet FROM at + 1 FOR 16), 'hex'), '(.{4})', '\1:',
                              'g'), ':')::inet END
$fn$;

-- What the packets are: the fields of their IP headers, and the ports of TCP and UDP.
CREATE VIEW {S}.packets AS
SELECT at, tunnel, CASE direction WHEN 0 THEN 'up' ELSE 'down' END AS direction, stream, seq,
       version,
       {S}.address(packet, CASE version WHEN 4 THEN 12 ELSE 8 END,
                   CASE version WHEN 4 THEN 4 ELSE 16 END) AS src,
       {S}.address(packet, CASE version WHEN 4 THEN 16 ELSE 24 END,
                   CASE version WHEN 4 THEN 4 ELSE 16 END) AS dst,
       protocol,
       CASE protocol WHEN 1 THEN 'icmp' WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' WHEN 58 THEN 'icmp6'
         ELSE protocol::text END AS protocol_name,
       CASE WHEN protocol IN (6, 17) AND octet_length(packet) >= header + 4
         THEN get_byte(packet, header) * 256 + get_byte(packet, header + 1) END AS sport,
       CASE WHEN protocol IN (6, 17) AND octet_length(packet) >= header + 4
         THEN get_byte(packet, header + 2) * 256 + get_byte(packet, header + 3) END AS dport,
       octet_length(packet) AS length, segment_bytes, packet
FROM (
  SELECT at, tunnel, direction, stream, seq, packet, segment_bytes, version,
         CASE version WHEN 4 THEN get_byte(packet, 9) ELSE get_byte(packet, 6) END AS protocol,
         CASE version WHEN 4 THEN (get_byte(packet, 0) & 15) * 4 ELSE 40 END AS header
  FROM (
    SELECT at, tunnel, direction, stream, seq, substring(payload FROM 11) AS packet,
           get_byte(payload, 10) >> 4 AS version,
           -- of a packet that stands for several (GSO): the bytes of each behind the header
           nullif(get_byte(payload, 4) + get_byte(payload, 5) * 256, 0) AS segment_bytes
    FROM {S}.packet WHERE kind = 3 AND octet_length(payload) >= 30
  ) AS raw WHERE version = 4 OR octet_length(packet) >= 40
) AS ip;

INSERT INTO {S}.about VALUES (1);
)sql";

std::string fill_in(std::string text, const std::string& name) {
  for (auto at = text.find("{S}"); at != text.npos; at = text.find("{S}", at + name.size()))
    text.replace(at, 3, name);
  return text;
}

}  // namespace

int init_database(const std::string& url, const std::string& schema) {
  const auto fail = [](const std::string& what, PGconn* connection) {
    std::fprintf(stderr, "tunorch-worker: cannot %s: %s", what.c_str(), PQerrorMessage(connection));
    return 1;
  };
  const Owned<PGconn, PQfinish> connection(PQconnectdb(url.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK)
    return fail("connect to the database", connection.get());
  const std::string name = quoted_name(schema);
  const char* values[] = {nullptr};
  const std::string about = name + ".about";
  values[0] = about.c_str();
  const DatabaseResult there(PQexecParams(connection.get(), "SELECT to_regclass($1)", 1, nullptr,
                                          values, nullptr, nullptr, 0));
  if (PQresultStatus(there.get()) != PGRES_TUPLES_OK)
    return fail("read the database", connection.get());
  if (!PQgetisnull(there.get(), 0, 0)) {
    const DatabaseResult version(
        PQexec(connection.get(), ("SELECT version FROM " + about).c_str()));
    const bool ours = PQresultStatus(version.get()) == PGRES_TUPLES_OK &&
                      PQntuples(version.get()) == 1 &&
                      PQgetvalue(version.get(), 0, 0) == std::to_string(schema_version);
    if (ours) {
      std::printf("schema %s is there already: nothing to do\n", schema.c_str());
      return 0;
    }
    std::fprintf(stderr,
                 "tunorch-worker: schema %s has tables of another version or another program: drop "
                 "it, or choose another schema\n",
                 schema.c_str());
    return 1;
  }
  // All or nothing: DDL is transactional, and several statements in one call are one transaction.
  const DatabaseResult made(PQexec(connection.get(), fill_in(tables, name).c_str()));
  if (PQresultStatus(made.get()) != PGRES_COMMAND_OK)
    return fail("make schema " + schema, connection.get());
  std::printf("made schema %s\n", schema.c_str());
  return 0;
}

}  // namespace tunorch::worker
