%% SPDX-License-Identifier: Apache-2.0
%% @doc Options of TLS together: what is missing, and what would have no effect. Pure; runs in the
%% process that checks the options.
-module(hornbeam_options_tls).

-export([together/1]).

%% Of what has no effect without TLS: the value that is as good as none.
-define(WITHOUT, [
    {certfile, undefined},
    {keyfile, undefined},
    {keyfile_password, undefined},
    {cacertfile, undefined},
    {verify, none},
    {ciphers, undefined},
    {tls_min_version, 'tlsv1.2'}
]).

%% @doc The configuration, or the first option that cannot be as it is beside the others. Files are
%% not looked at: `hornbeam_certificates' does that.
-spec together(Config) ->
    {ok, Config} | {error, {bad_option, atom(), {expected, binary(), got, term()}}}
when
    Config :: map().
together(#{ssl := false} = Config) ->
    case [Key || {Key, None} <- ?WITHOUT, maps:get(Key, Config) =/= None] of
        [] -> {ok, Config};
        [Key | _] -> bad(Key, <<"no value, since ssl is false">>, maps:get(Key, Config))
    end;
together(#{certfile := undefined}) ->
    bad(certfile, <<"the path of a PEM file, since ssl is true">>, undefined);
together(#{verify := none, cacertfile := File}) when File =/= undefined ->
    bad(cacertfile, <<"no value, since verify is none (certificates between the server's and the "
        "root belong into certfile)">>, File);
together(#{verify := Verify, cacertfile := undefined}) when Verify =/= none ->
    Text = <<"the path of a PEM file, since verify is ", (atom_to_binary(Verify))/binary>>,
    bad(cacertfile, Text, undefined);
together(#{ciphers := [_ | _] = Names, tls_min_version := Min} = Config) ->
    case hornbeam_ciphers:suites(Names, Min) of
        {ok, _} -> {ok, Config};
        none -> bad(ciphers, <<"a cipher suite of TLS 1.3, since tls_min_version is that">>, Names)
    end;
together(Config) ->
    {ok, Config}.

bad(keyfile_password, Expected, _) ->
    {error, {bad_option, keyfile_password, {expected, Expected, got, hidden}}};
bad(Key, Expected, Value) ->
    {error, {bad_option, Key, {expected, Expected, got, Value}}}.
