%% SPDX-License-Identifier: Apache-2.0
%% @doc What the suites of TLS share: certificates, a server that has one, and clients that nobody
%% here wrote.
-module(tls_case).

-export([files/1, options/1, start/1, run/1, curl/3, url/2, shake/2]).

-include_lib("common_test/include/ct.hrl").

%% @doc Certificates of a server, of the authority that issued them, and of one in between.
-spec files([{atom(), term()}]) -> [{atom(), term()}].
files(Config) ->
    Dir = ?config(priv_dir, Config),
    {RootCert, _} = Root = tls_files:authority(Dir, "root"),
    Sub = tls_files:certificate(Dir, "sub", Root),
    {Cert, Key} = tls_files:certificate(Dir, "server", Root),
    [{dir, Dir}, {root, Root}, {sub, Sub}, {cert, Cert}, {key, Key}, {ca, RootCert} | Config].

%% @doc Options of a server that has that certificate.
-spec options([{atom(), term()}]) -> map().
options(Config) ->
    #{ssl => true, certfile => ?config(cert, Config), keyfile => ?config(key, Config)}.

%% @doc Serve test/apps/tls_app.py; the port.
-spec start(map()) -> inet:port_number().
start(Options) -> hornbeam_case:start("tls_app:application", Options).

%% @doc Standard output of the command; it ends with the exit status.
-spec run(iodata()) -> string().
run(Command) ->
    os:cmd(binary_to_list(iolist_to_binary(["timeout 20 ", Command, "; echo -n \" [$?]\""]))).

%% @doc What curl prints, which trusts the authority.
-spec curl([{atom(), term()}], iodata(), iodata()) -> string().
curl(Config, Arguments, Target) ->
    run(["curl -sS --cacert ", ?config(ca, Config), " ", Arguments, " '", Target, "' 2>&1"]).

-spec url(inet:port_number(), iodata()) -> iodata().
url(Port, Path) -> ["https://localhost:", integer_to_list(Port), Path].

%% @doc A handshake of Erlang's ssl: what was agreed, or the alert.
-spec shake(inet:port_number(), [term()]) -> map() | atom().
shake(Port, Options) ->
    Trusting = [{verify, verify_none}, {active, false}, {log_level, none} | Options],
    case ssl:connect({127, 0, 0, 1}, Port, Trusting, 10000) of
        {ok, Socket} -> settled(Socket);
        {error, {tls_alert, {Alert, _}}} -> Alert;
        {error, closed} -> closed
    end.

%% With TLS 1.3 the server's alert on a client's certificate comes after the handshake.
settled(Socket) ->
    Agreed = ssl:connection_information(Socket, [protocol, selected_cipher_suite]),
    Alpn = ssl:negotiated_protocol(Socket),
    _ = ssl:send(Socket, "GET /about HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    Outcome =
        case ssl:recv(Socket, 0, 10000) of
            {error, {tls_alert, {Alert, _}}} -> Alert;
            {error, closed} -> closed;
            {ok, _} -> agreement(Agreed, Alpn)
        end,
    ok = ssl:close(Socket),
    Outcome.

agreement({ok, [{protocol, Version}, {selected_cipher_suite, Suite}]}, Alpn) ->
    #{
        version => Version,
        suite => ssl:suite_to_openssl_str(Suite),
        alpn => element(2, Alpn)
    }.
