%% SPDX-License-Identifier: Apache-2.0
%% @doc The option `ciphers': names of cipher suites, as OpenSSL or the RFCs write them, and the
%% suites of `ssl' that they are. Pure; runs in the process that checks the options or opens a
%% listener.
-module(hornbeam_ciphers).

-export([check/1, suites/2, versions/1]).

-type version() :: 'tlsv1.2' | 'tlsv1.3'.

%% @doc The versions from this one on.
-spec versions(version()) -> [version(), ...].
versions('tlsv1.2') -> ['tlsv1.3', 'tlsv1.2'];
versions('tlsv1.3') -> ['tlsv1.3'].

%% @doc Each name is that of a suite this node can speak, or the first that is not. OpenSSL's words
%% for groups (`HIGH', `!aNULL') are no names.
-spec check([binary()]) -> ok | {error, Name :: binary()}.
check([Name | Names]) ->
    case suite(Name) of
        {ok, _} -> check(Names);
        error -> {error, Name}
    end;
check([]) ->
    ok.

suite(Name) ->
    case ssl:str_to_suite(unicode:characters_to_list(Name)) of
        #{} = Suite -> known(Suite);
        _ -> error
    end.

known(Suite) ->
    case lists:any(fun(Version) -> lists:member(Suite, all(Version)) end, versions('tlsv1.2')) of
        true -> {ok, Suite};
        false -> error
    end.

%% `all' of TLS 1.3 holds those of TLS 1.2, too.
all('tlsv1.3') -> ssl:cipher_suites(exclusive, 'tlsv1.3');
all('tlsv1.2') -> ssl:cipher_suites(all, 'tlsv1.2') -- all('tlsv1.3').

%% @doc The suites of names that were checked, in their order. A version for which none is named
%% keeps its own. `none' when no name is for a version from `Min' on.
-spec suites([binary()], version()) -> {ok, ssl:ciphers()} | none.
suites(Names, Min) ->
    Named = [Suite || Name <- Names, {ok, Suite} <- [suite(Name)]],
    ByVersion = [{Version, [S || S <- Named, lists:member(S, all(Version))]} ||
        Version <- versions(Min)],
    case [S || {_, Suites} <- ByVersion, S <- Suites] of
        [] -> none;
        _ -> {ok, lists:append([own(Version, Suites) || {Version, Suites} <- ByVersion])}
    end.

own('tlsv1.3', []) -> all('tlsv1.3');
own('tlsv1.2', []) -> ssl:cipher_suites(default, 'tlsv1.2') -- all('tlsv1.3');
own(_, Suites) -> Suites.
