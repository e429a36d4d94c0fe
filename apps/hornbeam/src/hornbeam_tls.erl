%% SPDX-License-Identifier: Apache-2.0
%% @doc TLS of an application's listeners: what its options mean for `ssl', and the certificates
%% that new connections get.
%%
%% Certificates are given to each handshake, not to the listening socket: so they can be replaced
%% while connections go on. They, the key and its password lie in a table, not in the arguments of
%% processes, which end up in reports. Whoever starts the application writes it, then its listener;
%% connection processes read it.
-module(hornbeam_tls).

-export([open/2, close/1, reload/1, stamp/1, stamp_in_use/1]).
-export([listen_options/1, handshake_options/1, no_other_host/1]).
-export_type([name/0]).

-type name() :: hornbeam_pool:name().

-define(TABLE, hornbeam_certificates).
%% Milliseconds without traffic.
-define(HIBERNATE_AFTER, 5000).

%% @doc Read the files that the options name, before anything of the application is started.
-spec open(name(), hornbeam_options:config()) -> ok | {error, hornbeam_certificates:reason()}.
open(Name, #{ssl := true} = Config) ->
    Source = maps:with([certfile, keyfile, keyfile_password, cacertfile, verify], Config),
    load(Name, Source);
open(_, #{ssl := false}) ->
    ok.

%% The stamp first: a file that is written meanwhile is read once more, not missed.
load(Name, Source) ->
    Stamp = hornbeam_certificates:stamp(Source),
    case hornbeam_certificates:load(Source) of
        {ok, Loaded} ->
            Options = verify(maps:get(verify, Source)) ++ Loaded,
            true = ets:insert(?TABLE, {Name, Options, Source, Stamp}),
            ok;
        {error, _} = Error ->
            Error
    end.

verify(none) -> [{verify, verify_none}];
verify(optional) -> [{verify, verify_peer}, {fail_if_no_peer_cert, false}];
verify(required) -> [{verify, verify_peer}, {fail_if_no_peer_cert, true}].

-spec close(name()) -> ok.
close(Name) ->
    true = ets:delete(?TABLE, Name),
    ok.

%% @doc Read the files again: handshakes from now on get what is in them. When something is wrong
%% with them, all stays as it is.
-spec reload(name()) -> ok | {error, hornbeam_certificates:reason()}.
reload(Name) ->
    load(Name, ets:lookup_element(?TABLE, Name, 3)).

%% @doc Of the files as they are now.
-spec stamp(name()) -> hornbeam_certificates:stamp().
stamp(Name) ->
    hornbeam_certificates:stamp(ets:lookup_element(?TABLE, Name, 3)).

%% @doc Of the files as they were when they were read last.
-spec stamp_in_use(name()) -> hornbeam_certificates:stamp().
stamp_in_use(Name) ->
    ets:lookup_element(?TABLE, Name, 4).

%% @doc Options of the listening socket: all but what has to do with certificates.
-spec listen_options(hornbeam_options:config()) -> [ssl:tls_server_option()].
listen_options(#{tls_min_version := Min, ciphers := Ciphers} = Config) ->
    [
        {versions, hornbeam_ciphers:versions(Min)},
        {alpn_preferred_protocols, alpn(Config)},
        {honor_cipher_order, true},
        {sni_fun, fun ?MODULE:no_other_host/1},
        %% A handshake that fails is the client's affair, and scanners try many.
        {log_level, warning},
        %% Two processes of ssl for each connection keep what the handshake left behind otherwise.
        {hibernate_after, ?HIBERNATE_AFTER}
        | renegotiation(Min) ++ ciphers(Ciphers, Min)
    ].

alpn(#{http_version := ['HTTP/1.1']}) -> [<<"http/1.1">>];
alpn(#{http_version := ['HTTP/2']}) -> [<<"h2">>];
alpn(_) -> [<<"h2">>, <<"http/1.1">>].

%% It costs the server more than the client, and TLS 1.3 has none.
renegotiation('tlsv1.2') -> [{client_renegotiation, false}];
renegotiation('tlsv1.3') -> [].

ciphers(undefined, _) ->
    [];
ciphers(Names, Min) ->
    {ok, Suites} = hornbeam_ciphers:suites(Names, Min),
    [{ciphers, Suites}].

%% @doc Of `sni_fun': every name gets the same certificates. ranch opens no socket without a sign of
%% where they come from.
-spec no_other_host(string()) -> undefined.
no_other_host(_) -> undefined.

%% @doc What one handshake needs beside the options of the socket.
-spec handshake_options(name()) -> [ssl:tls_server_option()].
handshake_options(Name) ->
    ets:lookup_element(?TABLE, Name, 2).
