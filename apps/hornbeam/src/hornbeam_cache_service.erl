%% SPDX-License-Identifier: Apache-2.0
%% @doc The cache as services of the node: the terms they take and what they answer.
%%
%% Runs where `hornbeam_services' says: cache.get and cache.stats are inline.
%%
%%   service         arguments             result
%%   cache.get       Key                   [Value], or [] when it is not there
%%   cache.claim     Key, TimeoutMs        {hit, Value} | {compute, Token}; waits for who computes
%%   cache.store     Token, Value          undefined; the keyword `ttl_ms', milliseconds
%%   cache.abandon   Token                 undefined; the computation has failed
%%   cache.clear     Prefix                how many there were
%%   cache.stats     -                     a map
%%
%% Keys and prefixes are text. A worker that dies abandons what it computes.
-module(hornbeam_cache_service).
-behaviour(hornbeam_service).

-export([handle/3]).

-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, term()} | {error, gone | unknown_call} | {bad_term, binary()}
when
    Context :: hornbeam_service:context().
handle([Key], _, #{service := <<"cache.get">>}) when is_binary(Key) ->
    case hornbeam_cache:get(Key) of
        {ok, Value} -> {ok, [Value]};
        none -> {ok, []}
    end;
handle([Key, Timeout], _, #{service := <<"cache.claim">>} = Context) when
    is_binary(Key), is_integer(Timeout), Timeout > 0
->
    claim(Key, Timeout, Context);
handle([Token, Value], Keywords, #{service := <<"cache.store">>}) when is_integer(Token) ->
    store(Token, Value, Keywords);
handle([Token], _, #{service := <<"cache.abandon">>}) when is_integer(Token) ->
    ok = hornbeam_cache_server:abandon(Token),
    {ok, undefined};
handle([Prefix], _, #{service := <<"cache.clear">>}) when is_binary(Prefix) ->
    {ok, hornbeam_cache:clear(Prefix)};
handle([], _, #{service := <<"cache.stats">>}) ->
    Stats = maps:to_list(hornbeam_cache:stats()),
    {ok, maps:from_list([{atom_to_binary(Key), Value} || {Key, Value} <- Stats])};
handle(_, _, #{service := Service}) ->
    {bad_term, <<Service/binary, ": arguments of other number or type than documented">>}.

%% Python knows itself which of its claims are nested in each other.
claim(Key, Timeout, #{worker := Worker, call := Call}) ->
    case hornbeam_worker:events(Worker) of
        {ok, Owner} -> {ok, hornbeam_cache_server:claim(Key, Owner, {Owner, Call}, Timeout)};
        {error, _} = Error ->
            Error
    end.

store(Token, Value, #{<<"ttl_ms">> := Ttl}) when is_integer(Ttl), Ttl > 0 ->
    ok = hornbeam_cache_server:store(Token, Value, Ttl),
    {ok, undefined};
store(_, _, #{<<"ttl_ms">> := _}) ->
    {bad_term, <<"cache.store: ttl_ms is a number of milliseconds, 1 or more">>};
store(Token, Value, _) ->
    ok = hornbeam_cache_server:store(Token, Value, infinity),
    {ok, undefined}.
